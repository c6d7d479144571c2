//! What nodes say to each other: questions to a conversation's owner, answers to whoever asked, deliveries to the nodes
//! that own members' sessions, and who has which shard. On one node the same messages are handed over by value.
//!
//! **Of one release and the next.** A release sends only what the one before it reads, so that nodes can be upgraded one by
//! one, and taken back. Messages have no version of their own: each is encoded once for all the nodes that get it, and so
//! cannot be as one link would like it. What they say grows by fields that may be missing; a new variant is read by one
//! release and sent by the next. Where that is not enough the version of frames ([`rookery_cluster::wire::VERSION`]) rises,
//! which nodes agree on before they have a link, and which an operator is told of. Recordings hold it (`tests.rs` of this
//! crate). What is said nevertheless and cannot be read is met by [`later`].

pub mod later;
pub mod parcel;

use std::sync::Arc;

use bytes::Bytes;
use rookery_cluster::id::{NodeId, ShardId};
use rookery_cluster::membership::Epoch;
use rookery_cluster::wire::{Malformed, Wire};
use serde::{Deserialize, Serialize};

use self::parcel::Bag;
use crate::conversation::command::Command;
use crate::conversation::state::Outcome;
use crate::frames::Frames;
use crate::heads::Heads;
use crate::id::{ConnectionId, ConversationId, DeviceId, FileId, LoginId, UserId};
use crate::ports::chats::{Entry, Member, Membership, Span, StoredChange, StoredUpdate};
use crate::protocol::codec::read_msgpack;
use crate::protocol::view::Kind;
use crate::protocol::{CloseCode, Problem};
use crate::session::batch::Batch;
use crate::time::Timestamp;

/// One message between nodes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Peer {
    /// To the owner of a conversation.
    Forward(Box<Forwarded>),
    /// To the node of the asker.
    Answer(Box<Answer>),
    /// To the nodes of a conversation's members.
    Deliver(ConversationId, Delivery),
    /// To the nodes of these users: one frame each, whatever conversation.
    Notify(Vec<UserId>, Frames),
    /// Between nodes that hand shards over.
    Place(Placing),
    /// Between the node of a socket and that of its session.
    Bag(Bag),
    /// Between the nodes of conversations and those of sessions.
    Heads(Heads),
    /// To the owner of a conversation: its roster is not known here.
    WantRoster(ConversationId),
    /// To the nodes whose connections watch a user: that user came or went.
    Presence(Box<Whereabouts>),
    /// To everybody: a user's name changed.
    Renamed(UserId),
}

/// How a user is, for those who share a conversation with that user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Whereabouts {
    pub user: UserId,
    pub online: bool,
    pub at: Timestamp,
    /// The user's conversations.
    pub conversations: Vec<ConversationId>,
}

/// What nodes say of the shards they hand over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Placing {
    /// The sender goes by the table of this epoch from now on.
    Installed(Epoch),
    /// By the table of this epoch these shards are the sender's: it waits to hear that they are closed.
    Release(Epoch, Vec<ShardId>),
    /// As of this epoch the sender has these shards no more.
    Closed(Epoch, Vec<ShardId>),
}

/// An ask of another node's.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Forwarded {
    pub ask: Ask,
    /// By which table the sender took the receiver for the owner.
    pub epoch: Epoch,
    /// How long the sender still waits.
    pub within_ms: u32,
}

/// MessagePack maps with named fields, so that a later version can add some.
impl Wire for Peer {
    fn encode(&self) -> Bytes {
        rmp_serde::to_vec_named(self)
            .expect("messages between nodes always serialize")
            .into()
    }

    fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        read_msgpack(bytes).map_err(|_| Malformed("not a message of the interchange"))
    }
}

/// What reaches the members of a conversation on one node, in the order in which its owner says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Delivery {
    /// Consecutive entries.
    Batch(Arc<Batch>),
    /// A frame that may be lost, to all members but one user.
    Ephemeral(Frames, Option<UserId>),
    /// Who the members are; before the first delivery.
    Roster(Vec<UserId>),
    /// Stored memberships that are to be served from now on.
    Enter(Vec<(UserId, Membership)>),
    /// These receive nothing from now on.
    Leave(Vec<UserId>),
    /// The store knows by now that these left: one may load a session of theirs again.
    Left(Vec<UserId>),
    /// Everything up to here exists.
    Head(u64),
    /// The conversation is idle: forget its roster.
    Cool,
}

/// A question or a command for a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    pub conversation: ConversationId,
    pub origin: Origin,
    pub question: Question,
}

/// Who waits for an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Origin {
    /// A client's frame, to be answered by one of the server's; `send` is a send's place among those of its node.
    Socket {
        node: NodeId,
        user: UserId,
        connection: ConnectionId,
        request: Option<String>,
        send: Option<u64>,
    },
    /// A task on a node.
    Call { node: NodeId, call: u64 },
    /// Another node, which keeps who it is under this number; `connection` is the socket a send came from.
    Node {
        node: NodeId,
        ticket: u64,
        connection: Option<ConnectionId>,
    },
    /// Nobody.
    Nobody,
}

impl Origin {
    /// The place of a socket's send among those of its node.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Socket { send, .. } => *send,
            _ => None,
        }
    }

    /// The socket that is told of its own message by `sent`.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Socket { connection, .. } => Some(*connection),
            Self::Node { connection, .. } => *connection,
            _ => None,
        }
    }
}

/// What is asked of a conversation's owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// A change; `repeat` says that the client may have sent it before, so that even old messages are searched for its id.
    Do { command: Command, repeat: bool },
    /// An edit, deletion or reaction, to be judged against the message it names.
    Change(Change),
    /// Entries for a member's replay; for whoever may have them in any case, where nobody is named.
    Entries {
        from: u64,
        to: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserId>,
    },
    /// A member's page of history.
    History { user: UserId, span: Span, limit: usize },
    /// What `sync` and the inbox say of a conversation.
    Summary { user: UserId, read: u64 },
    /// A group's profile with the members beyond a cursor.
    Members {
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    },
    /// How far a member has got; told to the others in small conversations.
    Receipt { user: UserId, delivered: u64, read: u64 },
    /// Somebody writes.
    Typing { user: UserId },
    /// About a user rather than a conversation: asked of the owner of that user's session, whose id stands in for the
    /// conversation's.
    User(UserQuestion),
}

/// An edit, a deletion or a reaction that a user wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub from: UserId,
    /// The message.
    pub of: u64,
    pub change: StoredChange,
    /// The idempotency key: names what the user asked for once, however often nodes ask each other for it. What has none is of an
    /// older release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<u64>,
}

/// What is asked of the owner of a user's session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum UserQuestion {
    /// Move the read cursor.
    Read { conversation: ConversationId, seq: u64 },
    /// The conversations and how far the user has got in each, as far as the session is in memory.
    Standings,
    /// Close the sockets of one login, or of every login but one.
    CloseLogins {
        only: Option<LoginId>,
        except: Option<LoginId>,
        code: CloseCode,
    },
    /// Close the sockets of a device and forget its cursors.
    ForgetDevice { device: DeviceId, code: CloseCode },
    /// Give a device to another login.
    RebindDevice { device: DeviceId, login: LoginId },
    /// Say whether the user is online, and tell this node of changes from now on, or no more.
    Watch { node: NodeId, on: bool },
}

/// An answer on its way to the asker.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub to: Origin,
    pub reply: Result<Reply, Problem>,
}

/// What a conversation's owner answers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Done {
        conversation: ConversationId,
        outcome: Outcome,
    },
    /// A change that had been made before; the seq of the update that made it, where one is known.
    Repeated {
        seq: Option<u64>,
    },
    /// The one who was asked does not own the conversation, as of this epoch. `appended` says that the command may stand in
    /// the log nevertheless.
    NotOwner {
        epoch: Epoch,
        appended: bool,
    },
    Entries(Slice),
    Summary(Summary),
    Members(Box<Members>),
    /// What was asked of a user's session was done; false when the user is no member.
    Noted(bool),
    Standings(Vec<Progress>),
    Online(bool),
}

/// How far a user has got in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub conversation: ConversationId,
    pub active_at: Timestamp,
    pub read: u64,
    pub delivered: u64,
}

/// Entries as far as they are in memory; what is older is read from the store by the asker, who folds `folds` in.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    pub head: u64,
    /// The oldest seq in memory: everything below is in the store.
    pub tail_first: u64,
    /// What to read from the store: `from..=to`.
    pub stored: Option<(u64, u64)>,
    /// Updates the store may not have folded yet.
    pub folds: Vec<StoredUpdate>,
    /// Oldest first, contiguous.
    pub entries: Vec<(Arc<Entry>, Frames)>,
}

/// A conversation in a line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub kind: Kind,
    pub group_name: Option<String>,
    pub photo: Option<FileId>,
    pub peer: Option<UserId>,
    pub head: u64,
    /// Messages of others beyond `read`, as far as memory goes.
    pub unread: u32,
    /// What of the range lies in the store alone and is to be counted there: `(after, upto)`.
    pub unread_stored: Option<(u64, u64)>,
    /// The latest message, where memory has one.
    pub latest: Option<Arc<Entry>>,
}

/// A group and a page of its members, by user id.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Members {
    pub name: String,
    pub photo: Option<FileId>,
    pub description: Option<String>,
    pub owner: UserId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub count: usize,
    pub page: Vec<Member>,
}

#[cfg(test)]
mod tests;
