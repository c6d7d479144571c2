//! The store of conversations, in the collections `conversations`, `entries` and `memberships`.
//!
//! **What decides.** A conversation's document is the commit: `applied`, head, profile and the changes of members that this
//! commit brings change together, in one update that matches only while the stored `applied` is smaller (`project.rs`).
//! What is written before it does not show, what follows from it is carried out by whoever comes next (`settle.rs`). So a
//! projection is all or nothing for its conversation without a transaction, and two nodes that project the same shard at
//! once, one of them a zombie, end in what one would have made.
//!
//! **What is read.** Entries up to the stored head and no further (`history.rs`). A snapshot is of one commit exactly, members
//! included, and not older than any that was confirmed (`snapshot.rs`): the state that grows from it must be the one that
//! every other reader of the log has. A message may show an edit whose seq is still beyond the head: the edit is in the log,
//! comes again with its seq, and folding it once more changes nothing.
//!
//! **Keys.** An entry's is the conversation and the seq, a membership's the conversation and the user, so that a page of
//! history and a page of members are each one range of the primary index. Beside it there are three indexes: messages by a
//! digest of their client id, edits by the message they name, memberships by user. None is unique: the log has decided
//! already, and a store that refused one of its messages would leave a hole.
//!
//! Cursors stand in the membership and only grow (`$max`), those of the user's devices too; those of devices that are gone
//! are not shown and dropped in time.

mod clients;
mod conversation;
mod entry;
mod fold;
mod history;
mod inbox;
mod keys;
mod people;
mod plan;
mod project;
mod settle;
mod snapshot;

use async_trait::async_trait;
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::chats::{
    ChatStore, CursorUpdate, Cursors, Entry, Inbox, Overview, Projection, Snapshot, Sought, Span, StoredMessage,
};
use rookery_actors::time::Timestamp;

use super::Mongo;
use super::open::Index;

const CONVERSATIONS: &str = "conversations";
const ENTRIES: &str = "entries";
const MEMBERSHIPS: &str = "memberships";

pub(super) fn indexes() -> Vec<Index> {
    vec![
        Index::sparse(ENTRIES, "message.client"),
        Index::sparse(ENTRIES, "edits"),
        Index::sparse(MEMBERSHIPS, "user"),
    ]
}

/// Those of the conversations that the user is a member of now.
pub(super) use self::people::memberships_among;

/// The store of conversations.
#[derive(Clone)]
pub struct MongoChats {
    mongo: Mongo,
}

impl MongoChats {
    pub fn new(mongo: Mongo) -> Self {
        Self { mongo }
    }
}

#[async_trait]
impl ChatStore for MongoChats {
    async fn conversation(&self, conversation: ConversationId) -> PortResult<Option<Snapshot>> {
        snapshot::load(&self.mongo, conversation).await
    }

    async fn overview(&self, conversation: ConversationId, user: UserId, read: u64) -> PortResult<Option<Overview>> {
        snapshot::overview(&self.mongo, conversation, user, read).await
    }

    async fn project(&self, batch: Vec<Projection>) -> PortResult<()> {
        project::all(&self.mongo, batch).await
    }

    async fn entries(&self, conversation: ConversationId, from: u64, to: u64, limit: usize) -> PortResult<Vec<Entry>> {
        history::entries(&self.mongo, conversation, from, to, limit).await
    }

    async fn messages(
        &self,
        conversation: ConversationId,
        span: Span,
        limit: usize,
    ) -> PortResult<(Vec<StoredMessage>, bool)> {
        history::messages(&self.mongo, conversation, span, limit).await
    }

    async fn message(&self, conversation: ConversationId, seq: u64) -> PortResult<Option<StoredMessage>> {
        history::message(&self.mongo, conversation, seq).await
    }

    async fn find(&self, sought: &[Sought]) -> PortResult<Vec<Option<(u64, Timestamp)>>> {
        clients::find(&self.mongo, sought).await
    }

    async fn unread(
        &self,
        conversation: ConversationId,
        user: UserId,
        after: u64,
        upto: u64,
        most: u32,
    ) -> PortResult<u32> {
        history::unread(&self.mongo, conversation, user, (after, upto), most).await
    }

    async fn inboxes(&self, users: &[UserId]) -> PortResult<Vec<Inbox>> {
        inbox::all(&self.mongo, users).await
    }

    async fn heads(&self, conversations: &[ConversationId]) -> PortResult<Vec<u64>> {
        inbox::heads(&self.mongo, conversations).await
    }

    async fn save_cursors(&self, updates: Vec<CursorUpdate>) -> PortResult<()> {
        inbox::save_cursors(&self.mongo, &updates).await
    }

    async fn save_preferences(
        &self,
        user: UserId,
        conversation: ConversationId,
        muted_until: Option<Option<Timestamp>>,
        pinned: Option<bool>,
    ) -> PortResult<bool> {
        inbox::save_preferences(&self.mongo, user, conversation, muted_until, pinned).await
    }

    async fn receipts(
        &self,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> PortResult<Vec<Cursors>> {
        people::receipts(&self.mongo, conversation, after, limit).await
    }

    async fn acquainted(&self, user: UserId, others: &[UserId]) -> PortResult<Vec<UserId>> {
        people::acquainted(&self.mongo, user, others).await
    }

    async fn was_member(&self, conversation: ConversationId, user: UserId) -> PortResult<bool> {
        people::was_member(&self.mongo, conversation, user).await
    }
}

#[cfg(test)]
mod tests;
