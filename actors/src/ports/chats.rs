//! Port: the store of conversations, their messages, and who is in them with which cursors.

use std::sync::Arc;

use async_trait::async_trait;
use rookery_cluster::id::ShardId;
use serde::{Deserialize, Serialize};

use super::PortResult;
use super::log::Offset;
use crate::id::{ConversationId, DeviceId, FileId, LoginId, UserId};
use crate::protocol::Json;
use crate::protocol::view::Role;
use crate::time::Timestamp;

/// What a conversation is, besides its members and messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Two users; `gone` are those of them whose account was deleted.
    Direct { pair: [UserId; 2], gone: Vec<UserId> },
    Group {
        name: String,
        photo: Option<FileId>,
        description: Option<String>,
        created_at: Timestamp,
        updated_at: Timestamp,
        /// `None` where the process that changed it last was of a release that does not say who it is.
        last_change: Option<LastChange>,
    },
}

/// The last change of a group's members or profile: which process wrote it to the log, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastChange {
    pub process: u64,
    pub offset: Offset,
}

/// A member as the conversation knows one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub user: UserId,
    pub role: Role,
    pub joined_at: Timestamp,
    /// The head when the user joined.
    pub joined_seq: u64,
    /// Since when the role is at least admin: the longest-serving admin inherits a group.
    pub admin_since: Option<Timestamp>,
}

/// A message at rest, with all updates so far folded in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredMessage {
    pub seq: u64,
    /// The client message id.
    pub id: String,
    pub from: UserId,
    pub at: Timestamp,
    pub content: Content,
    pub edited_at: Option<Timestamp>,
    /// A deleted message keeps its place and loses its content.
    pub deleted: bool,
    /// In order of the first reaction of that kind; users in the order in which they reacted.
    pub reactions: Vec<StoredReaction>,
}

/// What a sender wrote.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Content {
    pub body: String,
    pub data: Option<Json>,
    pub attachments: Vec<FileId>,
    pub reply_to: Option<u64>,
    pub mentions: Vec<UserId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReaction {
    pub emoji: String,
    pub users: Vec<UserId>,
}

/// An edit, a deletion or a reaction, which takes a seq of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredUpdate {
    pub seq: u64,
    pub of: u64,
    pub from: UserId,
    pub at: Timestamp,
    pub change: StoredChange,
    /// The idempotency key of the asking that made it; older ones have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredChange {
    /// The new text; `None` once the message was deleted.
    Edit {
        body: Option<String>,
    },
    Delete,
    React {
        emoji: String,
        remove: bool,
    },
}

/// Whatever takes a seq.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    Message(StoredMessage),
    Update(StoredUpdate),
}

impl Entry {
    pub fn seq(&self) -> u64 {
        match self {
            Self::Message(message) => message.seq,
            Self::Update(update) => update.seq,
        }
    }
}

impl StoredMessage {
    /// Folds an update in. The same update folded twice changes nothing the second time.
    pub fn fold(&mut self, update: &StoredUpdate) {
        match &update.change {
            _ if self.deleted => {}
            StoredChange::Edit { body } => {
                // Without its text it is still an edit: the deletion that took the text is to come.
                if let Some(body) = body {
                    self.content.body.clone_from(body);
                }
                self.edited_at = Some(update.at);
            }
            StoredChange::Delete => {
                self.deleted = true;
                self.content = Content {
                    reply_to: self.content.reply_to,
                    ..Content::default()
                };
                self.reactions.clear();
            }
            StoredChange::React { emoji, remove: false } => self.react(emoji, update.from),
            StoredChange::React { emoji, remove: true } => self.unreact(emoji, update.from),
        }
    }

    /// Folds in those of the updates that name this message.
    pub fn fold_all(&mut self, updates: &[StoredUpdate]) {
        for update in updates {
            if update.of == self.seq {
                self.fold(update);
            }
        }
    }

    fn react(&mut self, emoji: &str, user: UserId) {
        match self.reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
            Some(reaction) if reaction.users.contains(&user) => {}
            Some(reaction) => reaction.users.push(user),
            None => self.reactions.push(StoredReaction {
                emoji: emoji.into(),
                users: vec![user],
            }),
        }
    }

    fn unreact(&mut self, emoji: &str, user: UserId) {
        if let Some(reaction) = self.reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
            reaction.users.retain(|other| *other != user);
        }
        self.reactions.retain(|reaction| !reaction.users.is_empty());
    }
}

/// What a conversation's actor starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub profile: Profile,
    pub head: u64,
    /// Records of the conversation's shard below this offset are in the snapshot; replay skips them.
    pub applied: Offset,
    pub active_at: Timestamp,
    pub members: Vec<Member>,
    /// The latest messages' client ids, oldest first: the dedupe window.
    pub recent: Vec<RecentId>,
    /// The changes of messages among the latest [`DEDUPE_WINDOW`] entries, oldest first.
    pub changes: Vec<RecentChange>,
    /// A deleted group: nothing of it may be read, and its id is never used again.
    pub deleted: bool,
}

/// A conversation in a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    pub profile: Profile,
    pub head: u64,
    /// Messages of others beyond the cursor.
    pub unread: u32,
    /// The latest message, where there is one.
    pub latest: Option<StoredMessage>,
}

/// What an update was, without what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentChange {
    pub seq: u64,
    pub of: u64,
    pub from: UserId,
    pub idempotency: Option<u64>,
}

impl RecentChange {
    /// What an entry was, if it was a change.
    pub fn of(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Update(update) => Some(Self::from(update)),
            Entry::Message(_) => None,
        }
    }
}

impl From<&StoredUpdate> for RecentChange {
    fn from(update: &StoredUpdate) -> Self {
        Self {
            seq: update.seq,
            of: update.of,
            from: update.from,
            idempotency: update.idempotency,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentId {
    pub from: UserId,
    pub id: String,
    pub seq: u64,
    pub at: Timestamp,
}

/// A message as its sender names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    pub conversation: ConversationId,
    pub from: UserId,
    /// The client message id.
    pub id: String,
}

/// How many client ids a snapshot's `recent` holds at most.
pub const DEDUPE_WINDOW: usize = 1024;
/// Entries beyond a cursor that an [`Overview`] counts. Of whoever lacks more the conversation counts in memory, once loaded,
/// and for all others who do.
pub const OVERVIEW_ENTRIES: u64 = 100;

/// What one conversation has to make durable, derived from its log records up to and without `applied`.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    pub conversation: ConversationId,
    pub shard: ShardId,
    /// The offset after the last record this holds.
    pub applied: Offset,
    pub head: u64,
    pub active_at: Timestamp,
    /// In log order.
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Makes or replaces the profile.
    Profile(Profile),
    /// Inserts, unless that seq is there. An `Update` is also folded into the message it names, and a `Delete` takes the
    /// text out of the earlier edits of that message.
    Entry(Arc<Entry>),
    /// Adds members or replaces their role; their cursors start at `joined_seq`.
    Joined(Vec<Member>),
    /// Removes memberships and every cursor of theirs in this conversation.
    Left(Vec<UserId>),
    /// Deletes the group: memberships, cursors and entries go, a tombstone stays.
    Deleted,
}

/// A conversation in a user's inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub conversation: ConversationId,
    /// The stored head: what the store knows, which the conversation's owner may be ahead of.
    pub head: u64,
    pub active_at: Timestamp,
    pub joined_seq: u64,
    pub joined_at: Timestamp,
    pub read: u64,
    pub delivered: u64,
    pub muted_until: Option<Timestamp>,
    pub pinned: bool,
}

/// A device and how far each conversation has reached it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCursors {
    pub device: DeviceId,
    pub login: LoginId,
    pub name: String,
    pub created_at: Timestamp,
    pub last_seen_at: Option<Timestamp>,
    /// Explicit cursors. A conversation that is missing here starts at `joined_seq` when it was joined after the device was
    /// made, else at 0.
    pub cursors: Vec<(ConversationId, u64)>,
}

/// All that a session starts from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Inbox {
    pub memberships: Vec<Membership>,
    pub devices: Vec<DeviceCursors>,
}

/// Cursors that moved. They only grow: a smaller value than the stored one changes nothing; a membership that is gone is
/// skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorUpdate {
    pub user: UserId,
    pub conversation: ConversationId,
    pub read: u64,
    pub delivered: u64,
    /// The devices whose own cursor moved.
    pub devices: Vec<(DeviceId, u64)>,
}

/// Which part of a conversation's history is wanted, by seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Span {
    /// Newest first, everything below.
    Before(u64),
    /// Oldest first, everything beyond.
    After(u64),
}

/// Members or receipts after a cursor, in order of user id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursors {
    pub user: UserId,
    pub delivered: u64,
    pub read: u64,
}

/// The store of conversations. Everything answered `Ok` is durable. Writes are idempotent, so that replaying the log over
/// them changes nothing.
#[async_trait]
pub trait ChatStore: Send + Sync + 'static {
    /// What is stored of a conversation; `None` when there never was one.
    async fn conversation(&self, conversation: ConversationId) -> PortResult<Option<Snapshot>>;

    /// A conversation in a line for a member who has read so far, without members and client ids. `None` where the user is no
    /// member of it, or the store cannot say so yet, or more than [`OVERVIEW_ENTRIES`] lie beyond `read`.
    async fn overview(&self, conversation: ConversationId, user: UserId, read: u64) -> PortResult<Option<Overview>>;

    /// Makes projections durable, all or nothing for each conversation. One whose `applied` is not beyond the stored one
    /// changes nothing.
    async fn project(&self, batch: Vec<Projection>) -> PortResult<()>;

    /// Entries (messages with updates folded in, and updates) with `from <= seq <= to`, oldest first, at most `limit`.
    async fn entries(&self, conversation: ConversationId, from: u64, to: u64, limit: usize) -> PortResult<Vec<Entry>>;

    /// Messages alone (no updates) of a span, in the span's order, and whether there are more.
    async fn messages(
        &self,
        conversation: ConversationId,
        span: Span,
        limit: usize,
    ) -> PortResult<(Vec<StoredMessage>, bool)>;

    /// One message; `None` when that seq is none or is an update.
    async fn message(&self, conversation: ConversationId, seq: u64) -> PortResult<Option<StoredMessage>>;

    /// The messages with these client ids, in their order and however old: seq and time of each.
    async fn find(&self, sought: &[Sought]) -> PortResult<Vec<Option<(u64, Timestamp)>>>;

    /// Messages (not updates) beyond `after` and up to `upto` by others than `user`, counted up to `most`.
    async fn unread(
        &self,
        conversation: ConversationId,
        user: UserId,
        after: u64,
        upto: u64,
        most: u32,
    ) -> PortResult<u32>;

    /// The inboxes of these users, in their order. Devices come from the account tables.
    async fn inboxes(&self, users: &[UserId]) -> PortResult<Vec<Inbox>>;

    /// Stored heads of conversations, in their order; 0 for an unknown one.
    async fn heads(&self, conversations: &[ConversationId]) -> PortResult<Vec<u64>>;

    /// Makes moved cursors durable.
    async fn save_cursors(&self, updates: Vec<CursorUpdate>) -> PortResult<()>;

    /// A user's own settings of a conversation; `None` leaves one as it is. False when the user is no member.
    async fn save_preferences(
        &self,
        user: UserId,
        conversation: ConversationId,
        muted_until: Option<Option<Timestamp>>,
        pinned: Option<bool>,
    ) -> PortResult<bool>;

    /// Read and delivered cursors of the members, by user id, beyond `after`.
    async fn receipts(
        &self,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> PortResult<Vec<Cursors>>;

    /// Which of `others` share a conversation with `user`.
    async fn acquainted(&self, user: UserId, others: &[UserId]) -> PortResult<Vec<UserId>>;

    /// Whether the user was ever a member of the conversation (an ex-member is told so, a stranger is not).
    async fn was_member(&self, conversation: ConversationId, user: UserId) -> PortResult<bool>;
}
