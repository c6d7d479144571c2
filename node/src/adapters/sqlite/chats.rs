//! The store of conversations, in `store.db`.
//!
//! What decides the layout is the cost of a projection: ten thousand messages of a thousand conversations in one
//! transaction. So what belongs to a conversation stands together: its entries are neighbours in one table, its members
//! (with their cursors, and those of their devices) in another, and what a flush changes of the conversation itself is one
//! row. There is no index over client ids: 32 bits of hash a message stand in the conversation's row and are moved out by
//! the chunk (`clients.rs`), because an index entry a message would dirty a page a message.
//!
//! Conversations are numbered inside the file; an entry's key is that number and its seq in one integer. A deleted group is
//! marked first, which hides everything of it at once, and swept afterwards in small transactions.
//!
//! Device cursors live in the membership's row, so that an ack is one update and a member who leaves takes them along;
//! those of devices that are gone are skipped when read and dropped in time. Nothing has to be done here when a device goes.

mod clients;
mod code;
mod cursors;
mod history;
mod inbox;
mod keys;
mod people;
mod project;
mod snapshot;
mod sweep;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::chats::{
    ChatStore, CursorUpdate, Cursors, Entry, Inbox, Overview, Projection, Snapshot, Sought, Span, Step, StoredMessage,
};
use rookery_actors::time::Timestamp;

use super::db::Db;

/// The tables of this module. `devices` is written by the accounts.
pub const SCHEMA: &str = "
CREATE TABLE conversations(
    no INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    head INTEGER NOT NULL,
    applied INTEGER NOT NULL,
    active_at INTEGER NOT NULL,
    -- 0 alive, 1 deleted and not swept, 2 deleted and swept
    deleted INTEGER NOT NULL,
    profile BLOB,
    -- the hashes of the client ids of the latest chunk
    clients BLOB NOT NULL
) STRICT;
CREATE INDEX conversations_to_sweep ON conversations(no) WHERE deleted = 1;

CREATE TABLE entries(
    -- the conversation's number and the seq
    key INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    sender BLOB NOT NULL,
    at INTEGER NOT NULL,
    -- of a message: its client id
    client TEXT,
    -- of an update: the seq of its message
    target INTEGER,
    -- of an edit that still has its text: the key of its message
    edits INTEGER,
    body BLOB
) STRICT;
CREATE INDEX entries_edits ON entries(edits) WHERE edits IS NOT NULL;

CREATE TABLE client_ids(
    -- the conversation's number and the chunk's
    key INTEGER PRIMARY KEY,
    hashes BLOB NOT NULL
) STRICT;

CREATE TABLE memberships(
    conversation INTEGER NOT NULL,
    user BLOB NOT NULL,
    role INTEGER NOT NULL,
    joined_at INTEGER NOT NULL,
    joined_seq INTEGER NOT NULL,
    admin_since INTEGER,
    read INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    muted_until INTEGER,
    pinned INTEGER NOT NULL DEFAULT 0,
    -- the devices' cursors
    devices BLOB,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX memberships_of ON memberships(user);

CREATE TABLE former_members(
    conversation INTEGER NOT NULL,
    user BLOB NOT NULL,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE devices(
    id BLOB PRIMARY KEY NOT NULL,
    user BLOB NOT NULL,
    login BLOB NOT NULL,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER
) STRICT;
CREATE INDEX devices_of ON devices(user);
";

/// The store of conversations.
pub struct SqliteChats {
    db: Db,
    /// A sweep is due; at start too, for what a crash left.
    sweep: AtomicBool,
}

impl SqliteChats {
    /// Over an open store (see `schema::open`).
    pub fn new(db: Db) -> Self {
        let sweep = AtomicBool::new(true);
        Self { db, sweep }
    }

    async fn sweep(&self) -> PortResult<()> {
        if self.sweep.swap(false, Ordering::Relaxed) {
            while self.db.write(|sql| sweep::some(sql)).await? {}
        }
        Ok(())
    }
}

#[async_trait]
impl ChatStore for SqliteChats {
    async fn conversation(&self, conversation: ConversationId) -> PortResult<Option<Snapshot>> {
        self.db.read(move |sql| snapshot::load(sql, conversation)).await
    }

    async fn overview(&self, conversation: ConversationId, user: UserId, read: u64) -> PortResult<Option<Overview>> {
        self.db
            .read(move |sql| snapshot::overview(sql, conversation, user, read))
            .await
    }

    async fn project(&self, batch: Vec<Projection>) -> PortResult<()> {
        let deletes = |projection: &Projection| projection.steps.contains(&Step::Deleted);
        if batch.iter().any(deletes) {
            self.sweep.store(true, Ordering::Relaxed);
        }
        self.db.write(move |sql| project::all(sql, &batch)).await?;
        self.sweep().await
    }

    async fn entries(&self, conversation: ConversationId, from: u64, to: u64, limit: usize) -> PortResult<Vec<Entry>> {
        self.db
            .read(move |sql| history::entries(sql, conversation, from, to, limit))
            .await
    }

    async fn messages(
        &self,
        conversation: ConversationId,
        span: Span,
        limit: usize,
    ) -> PortResult<(Vec<StoredMessage>, bool)> {
        self.db
            .read(move |sql| history::messages(sql, conversation, span, limit))
            .await
    }

    async fn message(&self, conversation: ConversationId, seq: u64) -> PortResult<Option<StoredMessage>> {
        self.db.read(move |sql| history::message(sql, conversation, seq)).await
    }

    async fn find(&self, sought: &[Sought]) -> PortResult<Vec<Option<(u64, Timestamp)>>> {
        let sought = sought.to_vec();
        self.db.read(move |sql| clients::find(sql, &sought)).await
    }

    async fn unread(
        &self,
        conversation: ConversationId,
        user: UserId,
        after: u64,
        upto: u64,
        most: u32,
    ) -> PortResult<u32> {
        self.db
            .read(move |sql| history::unread(sql, conversation, user, (after, upto), most))
            .await
    }

    async fn inboxes(&self, users: &[UserId]) -> PortResult<Vec<Inbox>> {
        let users = users.to_vec();
        self.db.read(move |sql| inbox::all(sql, &users)).await
    }

    async fn heads(&self, conversations: &[ConversationId]) -> PortResult<Vec<u64>> {
        let conversations = conversations.to_vec();
        self.db.read(move |sql| inbox::heads(sql, &conversations)).await
    }

    async fn save_cursors(&self, updates: Vec<CursorUpdate>) -> PortResult<()> {
        self.db.write(move |sql| cursors::save(sql, &updates)).await
    }

    async fn save_preferences(
        &self,
        user: UserId,
        conversation: ConversationId,
        muted_until: Option<Option<Timestamp>>,
        pinned: Option<bool>,
    ) -> PortResult<bool> {
        self.db
            .write(move |sql| inbox::save_preferences(sql, user, conversation, muted_until, pinned))
            .await
    }

    async fn receipts(
        &self,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> PortResult<Vec<Cursors>> {
        self.db
            .read(move |sql| people::receipts(sql, conversation, after, limit))
            .await
    }

    async fn acquainted(&self, user: UserId, others: &[UserId]) -> PortResult<Vec<UserId>> {
        let others = others.to_vec();
        self.db.read(move |sql| people::acquainted(sql, user, &others)).await
    }

    async fn was_member(&self, conversation: ConversationId, user: UserId) -> PortResult<bool> {
        self.db
            .read(move |sql| people::was_member(sql, conversation, user))
            .await
    }
}

#[cfg(test)]
mod tests;
