//! Objects of the contract as clients see them, in frames and in HTTP bodies.

use serde::{Deserialize, Serialize};

use super::json::Json;
use crate::id::{ConversationId, DeviceId, FileId, UserId};
use crate::time::Timestamp;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Direct,
    Group,
}

/// Rank in a group; the order is that of power.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Member,
    Admin,
    Owner,
}

/// A message with all updates so far folded in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Message {
    pub conversation: ConversationId,
    pub seq: u64,
    /// The client message id its sender gave it.
    pub id: String,
    pub from: UserId,
    pub at: Timestamp,
    /// The text; empty when there is none or the message was deleted.
    #[serde(default)]
    pub body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Json>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<FileId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reaction {
    pub emoji: String,
    pub count: u32,
    /// The first 20 who reacted so.
    pub users: Vec<UserId>,
}

/// A user as any signed-in user may see one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    pub username: String,
    pub name: String,
    pub photo_url: Option<String>,
    pub status_message: Option<String>,
    pub last_seen_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    pub user: User,
    pub role: Role,
    pub joined_at: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Group {
    pub id: ConversationId,
    pub name: String,
    pub photo_url: Option<String>,
    pub description: Option<String>,
    pub owner: UserId,
    /// The first page; more by `GET /api/groups/{id}/members`.
    pub members: Vec<Member>,
    pub member_count: usize,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// One row of the inbox.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Conversation {
    pub id: ConversationId,
    pub kind: Kind,
    pub title: String,
    pub photo_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<User>,
    pub head: u64,
    pub read: u64,
    pub delivered: u64,
    pub unread: u32,
    pub muted: bool,
    pub muted_until: Option<Timestamp>,
    pub pinned: bool,
    pub last_message: Option<Message>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    pub user: UserId,
    pub delivered: u64,
    pub read: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Device {
    pub id: DeviceId,
    pub name: String,
    pub created_at: Timestamp,
    pub last_seen_at: Option<Timestamp>,
    pub current: bool,
}

/// A page of a list: `next` is the cursor of the following one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// A page of history.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct History {
    pub items: Vec<Message>,
    pub more: bool,
    /// Always null: history pages by seq.
    pub next: Option<String>,
}
