//! The promises of one server, held by three that share a Kafka, a Redis, a MongoDB-protocol and an S3 server.
//!
//! The promise files are those of `tests/promises`, word for word: only the server they start is another one. Its users come in
//! through three nodes by turns, so that sender, reader and owner of a conversation are on different ones more often than not.

#![allow(clippy::unwrap_used)] // everything here is a test
#![allow(clippy::disallowed_methods)] // a test keeps all that the server says, however much
#![allow(dead_code)] // what is shared with other targets is not all used here

mod services;
mod support;

mod any_node_serves;
mod moves_are_quiet;
mod nodes_come_and_go;
mod zombies_harm_nobody;

mod clocks_jump;
mod kafka_away;
mod links_cut;
mod mongodb_away;
mod redis_away;
mod s3_away;
mod traffic;

#[path = "../promises/acknowledged_means_kept.rs"]
mod acknowledged_means_kept;
#[path = "../promises/closed_by_default.rs"]
mod closed_by_default;
#[path = "../promises/devices_are_cursors.rs"]
mod devices_are_cursors;
#[path = "../promises/exact_resume.rs"]
mod exact_resume;
#[path = "../promises/files_reach_their_readers.rs"]
mod files_reach_their_readers;
#[path = "../promises/groups_obey_their_ranks.rs"]
mod groups_obey_their_ranks;
#[path = "../promises/inbox_follows_activity.rs"]
mod inbox_follows_activity;
#[path = "../promises/independent_clients.rs"]
mod independent_clients;
#[path = "../promises/logins_end_at_once.rs"]
mod logins_end_at_once;
#[path = "../promises/once.rs"]
mod once;
#[path = "../promises/one_order.rs"]
mod one_order;
#[path = "../promises/receipts_tell_how_far.rs"]
mod receipts_tell_how_far;
#[path = "../promises/unread_is_exact.rs"]
mod unread_is_exact;
#[path = "../promises/updates_fold_in.rs"]
mod updates_fold_in;
