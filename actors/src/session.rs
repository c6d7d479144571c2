//! Sessions: one for each user who is connected or was a moment ago.
//!
//! The session is a compact record in its node's table ([`table`], [`state`]): cursors and connections. Live delivery goes
//! past every mailbox: it finds the record and hands shared frames to the connections' outboxes. Only what has to wait for
//! something (loading the inbox, replaying what a connection missed) is done by an actor ([`actor`]), activated on first use
//! under its shard's supervisor and passivated when idle.
//!
//! What must always hold: a connection gets each seq of a conversation at most once and in order, whatever is delivered late,
//! twice or not at all; what it lacks is always written down in its record.

pub mod actor;
pub mod batch;
pub mod catch_up;
pub mod cursors;
pub mod hold;
mod idempotency;
pub mod link;
mod loader;
mod questions;
mod release;
pub mod remote;
mod replay;
pub mod state;
pub mod table;
