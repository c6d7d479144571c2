//! The promises of the server, each in a file that is named after it, held by the real binary over real sockets.

#![allow(clippy::unwrap_used)] // everything here is a test
#![allow(clippy::disallowed_methods)] // a test keeps all that the server says, however much

mod support;

mod a_node_serves_its_files;
mod accounts_are_their_owners;
mod acknowledged_means_kept;
mod closed_by_default;
mod connections_leave_nothing_behind;
mod devices_are_cursors;
mod drain_is_quiet;
mod errors_are_problems;
mod exact_resume;
mod files_reach_their_readers;
mod groups_obey_their_ranks;
mod history_pages_by_seq;
mod hostile_input_is_survived;
mod inbox_follows_activity;
mod independent_clients;
mod limits_hold;
mod logins_end_at_once;
mod metrics_are_documented;
mod once;
mod one_order;
mod receipts_tell_how_far;
mod signs_of_life_stay_small;
mod slow_reader_is_bounded;
mod sockets_speak_both_subprotocols;
mod tls_is_optional;
mod unread_is_exact;
mod updates_fold_in;
