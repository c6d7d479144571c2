//! Frames from the server.

use serde::{Deserialize, Serialize};

use super::error::{ErrorCode, Problem};
use super::limits::Limits;
use super::view::{Kind, Message};
use crate::id::{ConversationId, DeviceId, UserId};
use crate::time::Timestamp;

fn is_false(flag: &bool) -> bool {
    !flag
}

/// One frame from the server; `t` names its kind.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ServerFrame {
    Hello(Box<Hello>),
    Sync {
        conversations: Vec<SyncItem>,
        more: bool,
    },
    Message(Box<Message>),
    Sent {
        id: String,
        conversation: ConversationId,
        seq: u64,
        at: Timestamp,
        #[serde(default, skip_serializing_if = "is_false")]
        duplicate: bool,
    },
    Receipt {
        conversation: ConversationId,
        user: UserId,
        delivered: u64,
        read: u64,
    },
    Update(Box<Update>),
    Typing {
        conversation: ConversationId,
        user: UserId,
    },
    Presence {
        user: UserId,
        online: bool,
        last_seen_at: Option<Timestamp>,
    },
    Notification {
        kind: NotificationKind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conversation: Option<ConversationId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserId>,
    },
    Gap {
        conversation: ConversationId,
        from: u64,
        to: u64,
    },
    Goaway {
        reason: GoawayReason,
        reconnect_after_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
    History {
        id: Option<String>,
        messages: Vec<Message>,
        more: bool,
    },
    Ok {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    Pong {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    Error {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        code: ErrorCode,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

impl ServerFrame {
    /// The `error` frame of a problem.
    pub fn error(id: Option<String>, problem: Problem) -> Self {
        Self::Error {
            id,
            code: problem.code,
            message: problem.detail,
            retry_after_ms: problem.retry_after_ms,
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub user: UserId,
    pub device: DeviceId,
    /// Names this connection in logs and in support requests.
    pub connection: String,
    pub node: String,
    pub heartbeat_s: u32,
    pub limits: Limits,
}

/// A conversation with news for this device.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SyncItem {
    pub id: ConversationId,
    pub kind: Kind,
    pub title: String,
    pub head: u64,
    pub delivered: u64,
    pub read: u64,
    pub unread: u32,
}

/// An edit, a deletion or a reaction. It has a seq of its own and names the message it changes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Update {
    pub conversation: ConversationId,
    pub seq: u64,
    pub of: u64,
    pub from: UserId,
    pub at: Timestamp,
    #[serde(flatten)]
    pub change: Change,
}

/// What an update does: `"kind": "edit" | "delete" | "react"`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// The new text; absent when the message was deleted later.
    Edit {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    Delete,
    React {
        emoji: String,
        #[serde(default, skip_serializing_if = "is_false")]
        remove: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    ContactRequest,
    ContactAccepted,
    GroupAdded,
    GroupRemoved,
    GroupChanged,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoawayReason {
    Drain,
    Rebalance,
}
