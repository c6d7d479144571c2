//! What is a session, a group, a message? All chat meaning and all ports, no service client.
//!
//! [`protocol`] is the public contract as types; it stands alone, so that clients can use it without the rest. With the
//! feature `runtime` come the actors: [`system`] is their front door, [`conversation`] and [`session`] their two kinds,
//! [`ports`] what they need of the world.

pub mod id;
pub mod protocol;
pub mod time;

#[cfg(feature = "runtime")]
pub mod ports;
#[cfg(feature = "runtime")]
pub mod system;
#[cfg(feature = "testkit")]
pub mod testkit;

#[cfg(feature = "runtime")]
mod calls;
#[cfg(feature = "runtime")]
pub mod conversation;
#[cfg(feature = "runtime")]
pub mod defaults;
#[cfg(feature = "runtime")]
mod delivery;
#[cfg(feature = "runtime")]
pub mod frames;
#[cfg(feature = "runtime")]
mod gather;
#[cfg(feature = "runtime")]
mod handover;
#[cfg(feature = "runtime")]
pub mod heads;
#[cfg(feature = "runtime")]
mod hub;
#[cfg(feature = "runtime")]
pub mod interchange;
#[cfg(feature = "runtime")]
mod introductions;
#[cfg(feature = "runtime")]
pub mod metrics;
#[cfg(feature = "runtime")]
mod names;
#[cfg(feature = "runtime")]
pub mod outlet;
#[cfg(feature = "runtime")]
mod outstanding;
#[cfg(feature = "runtime")]
mod presence;
#[cfg(feature = "runtime")]
mod projector;
#[cfg(feature = "runtime")]
mod puzzles;
#[cfg(feature = "runtime")]
mod recovery;
#[cfg(all(test, feature = "runtime"))]
mod samples;
#[cfg(feature = "runtime")]
mod sent_back;
#[cfg(feature = "runtime")]
pub mod session;
#[cfg(feature = "runtime")]
mod shard;
#[cfg(feature = "runtime")]
mod striped;
#[cfg(feature = "runtime")]
mod supervisor;
#[cfg(feature = "runtime")]
mod undelivered;
#[cfg(feature = "runtime")]
mod validate;

#[cfg(feature = "runtime")]
#[cfg(test)]
mod tests;
