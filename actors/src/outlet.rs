//! What the actors see of a client connection. The gateway implements it; in a cluster so does the link to the node that
//! holds the socket.

use rookery_cluster::id::NodeId;
use serde::{Deserialize, Serialize};

use crate::frames::Frames;
use crate::id::ConnectionId;
use crate::protocol::{CloseCode, Codec};

/// How much a frame matters when the connection is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Urgency {
    /// A live or replayed frame with a seq: refused when the outbox is full, and the session catches the connection up later.
    Sequenced,
    /// An answer to a request of this very connection: always taken (what may be unanswered is bounded).
    Answer,
    /// Typing, presence, receipts: dropped and counted when the outbox is full.
    Ephemeral,
}

/// Whether the outbox took the frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    Taken,
    /// Nothing was taken. For `Sequenced` the outlet calls [`crate::system::Link::drained`] once what waited is written.
    Full,
    /// The connection is gone.
    Closed,
}

/// One live connection. All calls are quick, never block, and may come from any thread.
pub trait Outlet: Send + Sync + 'static {
    fn id(&self) -> ConnectionId;
    fn codec(&self) -> Codec;
    /// Hands over frames. They leave in the order of the calls, coalesced with whatever else is due for the socket.
    fn push(&self, frames: &Frames, urgency: Urgency) -> Pushed;
    /// The node that holds the socket, where that is another one.
    fn gateway(&self) -> Option<&NodeId> {
        None
    }
    /// Whether the connection is gone for good, or attached anew through another outlet: a session takes it no more.
    fn is_closed(&self) -> bool {
        false
    }
    /// The session goes to another node: the socket is to be attached there. Only one that another node holds has to hear
    /// of it.
    fn release(&self) {}
    /// Flushes what waits as far as the socket takes it, sends a close frame, and ends the connection.
    fn close(&self, code: CloseCode);
}
