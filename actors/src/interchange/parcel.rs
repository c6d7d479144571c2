//! What the node of a socket and the node of its session say to each other when these are two.

use rookery_cluster::id::NodeId;
use rookery_cluster::membership::Epoch;
use serde::{Deserialize, Serialize};

use crate::frames::Frames;
use crate::id::{ConnectionId, ConversationId, DeviceId, LoginId, UserId};
use crate::outlet::Urgency;
use crate::protocol::client::Request;
use crate::protocol::{CloseCode, Problem};
use crate::time::Timestamp;

/// Parcels of one node for another, in order. Numbered, so that a lost one is noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bag {
    /// Changes when the sender has given up what it had sent before.
    pub stream: u64,
    /// 0, 1, 2, ... in a stream.
    pub number: u64,
    pub parcels: Vec<Parcel>,
}

/// An attachment of a socket to its session: which socket, and the how-manieth attachment of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Plug {
    pub connection: ConnectionId,
    pub attempt: u32,
}

/// One thing to be said about a socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Parcel {
    /// To the session: take this socket.
    Attach(Box<Attach>),
    /// To the session: the client says this.
    Frame(Plug, Box<Request>),
    /// To the session: so many bytes of what was pushed have left.
    Credit(Plug, u32),
    /// To the session: the socket is gone.
    Detach(Plug),
    /// To the socket: it is attached, as this device.
    Attached(Plug, DeviceId),
    /// To the socket: it is not attached, or not any more.
    Refused(Plug, Refusal),
    /// To sockets: the same frames for each of them.
    Push {
        plugs: Vec<Plug>,
        frames: Frames,
        urgency: Urgency,
        weight: u32,
    },
    /// To the socket: close it.
    Close(Plug, CloseCode),
    /// To the socket: its session goes to another node; everything before this was said by the one that goes.
    Released(Plug),
    /// To the socket: this came after the session had gone.
    Returned(Plug, Box<Request>),
}

/// A socket that asks for its session on another node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attach {
    pub plug: Plug,
    /// By which table the sender takes the receiver for the owner.
    pub epoch: Epoch,
    /// The socket's node.
    pub gateway: NodeId,
    pub user: UserId,
    pub login: LoginId,
    pub device: Option<DeviceId>,
    pub device_name: String,
    /// When the socket was first attached: of two sockets of one device the later one is right.
    pub since: Timestamp,
    pub greeting: Greeting,
}

/// What a socket that is attached has been told before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Greeting {
    /// Nothing: `hello` and `sync` are due.
    Hello,
    /// Its `hello`: `sync` is due.
    Sync,
    /// All that was missed when it came; of these conversations everything up to a seq, of others what its device's cursor
    /// says.
    Resume(Vec<(ConversationId, u64)>),
}

/// Why a socket is not attached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Refusal {
    /// The session is not here: ask its owner.
    NotOwner,
    /// It cannot be attached anywhere.
    Problem(Problem),
    /// A later socket of the same device took its place.
    Replaced,
}
