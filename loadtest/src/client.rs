//! The virtual clients: many users' sockets driven by one thread.
//!
//! One [`Engine`] owns its clients, their sockets and one epoll instance; nothing is shared, locked or spawned. A client that
//! has nothing to say or hear costs its record and its kernel socket: the read buffer is the engine's, bytes of an unfinished
//! frame are kept only while there are any. The hot path (a message arrives) is in `receive` and `quick`.

mod connect;
mod engine;
mod hear;
pub mod payload;
mod person;
mod quick;
mod receive;
mod send;
mod wire;

pub use engine::Engine;
pub use wire::UPGRADED;

#[cfg(test)]
mod standin;
#[cfg(test)]
mod tests;
