//! Which node owns a key, and how do bytes get there? Knows nothing of chat.
//!
//! **What is this.** Keys hash to shards ([`id`]), shards are placed on nodes by a pure function ([`placement`]) of who is
//! in the cluster ([`membership`]), and a [`router`] hands a message to whoever owns its shard: by a plain call when that
//! is this very node, as bytes over a [`transport`] when it is another. [`wire`] says what those bytes look like.
//!
//! **Who owns what.** A node has one [`Router`](router::Router), which owns the current table, the way to the local
//! [`Handler`](router::Handler) and the transport. Messages belong to the caller until a send answers `Ok`.
//!
//! **What always holds.**
//! * All nodes have the same table at the same epoch: whoever sees a new membership first makes its table out of the one
//!   before, and all take the one that was stored. The hashes are our own and never change.
//! * No node owns more than its fair share of the shards, rounded up to a whole one, and no more moves than that takes.
//! * A table is replaced by one with a later epoch only.
//! * Messages to one node on one lane arrive in the order in which they were sent, each at most once.
//! * Sending never blocks. What waits is bounded, and what does not fit is refused to the sender, never dropped silently.
//!
//! **What is deliberately absent.** Safety: two nodes that both believe they own a shard are possible, and what they do is
//! made safe by the event log above, not here. Delivery guarantees beyond "at most once": whoever needs an answer asks
//! again. Requests, deadlines and retries: they belong to the messages.

pub mod id;
pub mod membership;
pub mod metrics;
pub mod placement;
pub mod primary;
pub mod router;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod transport;
pub mod wire;

mod hash;
mod seldom;
