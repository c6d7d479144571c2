//! What can be asked of a conversation so that it changes: the content of its log records.

use serde::{Deserialize, Serialize};

use crate::id::{ConnectionId, ConversationId, FileId, UserId};
use crate::ports::chats::{Content, StoredChange};
use crate::ports::log::Offset;
use crate::protocol::view::Role;
use crate::time::Timestamp;

/// A change somebody wants. Checked against the state, appended to the log, and applied when it is read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// A message. `peer` is named by a direct send, which may be the first of its conversation.
    Send {
        from: UserId,
        id: String,
        content: Content,
        peer: Option<UserId>,
    },
    /// An edit, a deletion or a reaction, found permissible and not a repeat when it was checked.
    Update {
        from: UserId,
        of: u64,
        change: StoredChange,
        /// The idempotency key of the asking: see [`Change`](crate::interchange::Change).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency: Option<u64>,
    },
    /// Makes a group.
    Create {
        by: UserId,
        name: String,
        photo: Option<FileId>,
        description: Option<String>,
        members: Vec<UserId>,
    },
    /// Makes a direct conversation; harmless when there is one.
    Open {
        pair: [UserId; 2],
    },
    /// Adds members; those who are there already stay as they are.
    Add {
        by: UserId,
        users: Vec<UserId>,
    },
    /// Removes a member; one who names oneself leaves.
    Remove {
        by: UserId,
        user: UserId,
    },
    SetRole {
        by: UserId,
        user: UserId,
        role: Role,
    },
    /// Changes the profile; an outer `None` leaves a part as it is.
    Patch {
        by: UserId,
        name: Option<String>,
        #[serde(with = "change")]
        photo: Option<Option<FileId>>,
        #[serde(with = "change")]
        description: Option<Option<String>>,
    },
    /// Deletes a group.
    Delete {
        by: UserId,
    },
    /// The account of a member was deleted.
    Gone {
        user: UserId,
    },
}

/// A command with all that its application may depend on: applying a record is a function of the state and the record alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub conversation: ConversationId,
    pub at: Timestamp,
    /// The conversation's head when the command was checked: it repeats nothing up to there. The oldest records do not say it.
    pub checked: Option<u64>,
    /// Of a change of a group: who wrote it. Records of older releases do not say it.
    pub writer: Option<Writer>,
    pub command: Command,
}

/// Which process wrote a record, and what it had seen of the conversation when it checked the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// A number that the process drew at its start.
    pub process: u64,
    /// All that stands below this offset was applied.
    pub seen: Offset,
}

impl Command {
    /// Who wants it.
    pub fn author(&self) -> UserId {
        match self {
            Self::Send { from, .. } | Self::Update { from, .. } => *from,
            Self::Create { by, .. }
            | Self::Add { by, .. }
            | Self::Remove { by, .. }
            | Self::SetRole { by, .. }
            | Self::Patch { by, .. }
            | Self::Delete { by } => *by,
            Self::Open { pair } => pair[0],
            Self::Gone { user } => *user,
        }
    }

    /// Whether it changes a group's members or profile, or makes one.
    pub fn changes_group(&self) -> bool {
        !matches!(self, Self::Send { .. } | Self::Update { .. } | Self::Open { .. })
    }
}

/// The socket a send came from: it gets `sent` instead of the message itself.
pub type SentBy = Option<ConnectionId>;

/// MessagePack writes `Some(None)` as it writes `None`: what is to be taken away would stay. So a change travels as a list of
/// one, and no change as an empty one.
mod change {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(
        change: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        change.as_slice().serialize(serializer)
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Vec::deserialize(deserializer).map(|mut list| list.pop())
    }
}
