//! Constants of the actors, each with its reason.

use std::time::Duration;

/// Messages that may wait in one conversation's mailbox before clients are told to come back: some seconds of its work.
pub const MAILBOX: u32 = 20_000;
/// Changes of one message that wait for each other; a popular post's reactions of one moment.
pub const CHANGES_WAITING: usize = 1_000;
/// So many sends of a connection whose session came from another node may be repeats.
pub const REPEATS_AFTER_MOVE: u32 = 1_024;
/// How far back the first making of a repeated change is searched, in entries: one read of the store.
pub const REPEAT_SEARCH: u64 = 1_000;
/// First pause before the owner of a conversation that is behind is asked again; doubled each time, up to the last. Of what others
/// wrote into its shard it hears within a second; together they are five.
pub const BEHIND_RETRY: Duration = Duration::from_millis(20);
pub const BEHIND_LAST: Duration = Duration::from_millis(2_560);
/// First pause before a conversation tries to load again; doubled each time.
pub const LOAD_RETRY: Duration = Duration::from_millis(50);
/// A conversation leaves the memory when nobody asked anything of it for so long. Must be well beyond [`LOAD_DEADLINE`]: a
/// session that read the store's heads while the conversation was still active must be served before it is gone.
pub const PASSIVATE_AFTER: Duration = Duration::from_secs(120);
/// A session's inbox must be loaded within this.
pub const LOAD_DEADLINE: Duration = Duration::from_secs(15);
/// A session without a connection is kept so long, so that a resume reads nothing from the store.
pub const GRACE: Duration = Duration::from_secs(120);
/// Sessions kept without a connection, at most: about 100 MB.
pub const GRACE_SESSIONS: usize = 200_000;
/// How often moved cursors are saved and receipts go out; an ack is at most this old when a node is lost.
pub const CURSOR_INTERVAL: Duration = Duration::from_millis(250);
/// A member's receipts in a conversation are at least this far apart.
pub const RECEIPT_INTERVAL_MS: i64 = 1_000;
/// A user's typing is passed on this often at most.
pub const TYPING_INTERVAL_MS: i64 = 3_000;
/// Projections are stored this often; more of them share a commit when the store is slower.
pub const PROJECT_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of entries that wait for the store, at most, where the configuration does not say otherwise: beyond it sends answer
/// `unavailable`. Some seconds of a node's highest rate.
pub const UNSTORED_BYTES: usize = 160 << 20;
/// So many bytes do not wait for others: one commit of the store must not take long.
pub const BYTES_A_COMMIT: usize = 4 << 20;
/// How long a request waits for its conversation before it answers `timeout`.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Questions to the store that one read answers together, at most.
pub const ASKED_A_READ: usize = 256;
/// Reads of inboxes begin so far apart while many are wanted.
pub const INBOX_PACE: Duration = Duration::from_millis(8);
/// The same of messages that may have been sent before: a send waits for it.
pub const REPEAT_PACE: Duration = Duration::from_millis(2);
/// Entries read for one step of a replay.
pub const REPLAY_CHUNK: u64 = 100;
/// Conversations that are asked at once for a line of an inbox or of `sync`: those not in memory wait for the store. All
/// sockets of a node that come back together must not reach [`OUTSTANDING`] with it.
pub const SUMMARIES_AT_ONCE: usize = 8;
/// Conversations in one `sync` frame.
pub const SYNC_PAGE: usize = 100;
/// Names of users kept for titles.
pub const NAMES_KEPT: usize = 100_000;
/// Records read from the log at once when it is replayed.
pub const REPLAY_RECORDS: usize = 4_096;
/// Commands that wait for a shard to open, at most: some seconds of its work.
pub const EARLY_COMMANDS: usize = 20_000;
/// Questions to other nodes that may wait for their answers at once; beyond it they are answered `unavailable`.
pub const OUTSTANDING: usize = 200_000;
/// How often what waits for another node, or for a shard to open, is looked at again.
pub const OUTSTANDING_INTERVAL: Duration = Duration::from_millis(50);
/// How often it is looked whether something waits, while nothing does: a wake-up is what an idle node costs.
pub const RESTING_INTERVAL: Duration = Duration::from_millis(150);
/// How long a hole is left alone when the log could not be read.
pub const FILL_RETRY: Duration = Duration::from_millis(200);
/// Shards whose records are read at once when a node takes many over.
pub const READ_UP_AT_ONCE: usize = 16;
/// A question to a node that by now owns the shard no more is asked again after this, answer or not.
pub const ANSWER_PATIENCE: Duration = Duration::from_millis(1_000);
/// How long a new owner waits for the old one to hand over. Safety does not rest on it: the log orders two owners.
pub const HAND_OVER_WAIT: Duration = Duration::from_millis(1_500);
/// How long a socket waits for its session while that moves.
pub const ATTACH_WAIT: Duration = Duration::from_secs(10);
/// How often the sockets that wait for their session are looked at.
pub const BERTH_INTERVAL: Duration = Duration::from_millis(100);
/// A socket that waits for an answer to its attachment asks again after this.
pub const BERTH_PATIENCE: Duration = Duration::from_millis(3_000);
/// Frames of a client that wait while its session moves.
pub const BERTH_FRAMES: usize = 512;
/// How long a session that does not know a conversation whose roster it is in is left to learn of it.
pub const SUSPICION: Duration = Duration::from_millis(1_000);
/// How long a session that is loaded waits for the heads that other nodes know.
pub const HEADS_WAIT: Duration = Duration::from_millis(1_000);
/// How often a node says that it lives to those it holds sockets or sessions of.
pub const BEAT_INTERVAL: Duration = Duration::from_millis(1_000);
/// How often a shard that closes looks whether all its appends are read back.
pub const CLOSE_POLL: Duration = Duration::from_millis(2);
/// How long a shard that closes waits for its appends to be reported and for the store.
pub const CLOSE_WAIT: Duration = Duration::from_millis(3_000);
