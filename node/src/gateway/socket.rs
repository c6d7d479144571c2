//! WebSockets after their upgrade: the hot path of the server.
//!
//! Who owns whom: the [`Hub`] owns one `Lane` a core; a lane's table owns its connections. A
//! [`Connection`] is one allocation with the TCP stream and its outbox in it. Its task (the `Pump`) only
//! reads, and holds no buffer while idle. Writing is nobody's task of its own: [`Outlet::push`] queues shared bytes and
//! marks the connection dirty; the lane's flusher then writes each dirty connection once, with one vectored write. A
//! socket that refuses bytes gets a drainer, a task that lives until they are written. The wheel walks all connections for
//! heartbeats, expiry and silence.
//!
//! What must always hold:
//! * a push allocates nothing but its queue slot and wakes no task of the connection's;
//! * an outbox holds at most its bound and what `Answer` is granted beyond it;
//! * no lock is held across an await, and none while the session is called, as the session may call back;
//! * `Session::detach` is called exactly once for each session that was attached, from the pump's end;
//! * there is no timer for an idle connection.
//!
//! [`Outlet::push`]: rookery_actors::outlet::Outlet::push

pub mod budget;
pub mod connection;
mod drainer;
pub mod hub;
mod lane;
mod meters;
mod outbox;
mod pump;
mod requests;
mod secure;
mod wheel;
pub mod wire;

pub use connection::Connection;
pub use hub::{Hub, Newcomer};
pub use wire::Wire;

#[cfg(test)]
mod tests;
