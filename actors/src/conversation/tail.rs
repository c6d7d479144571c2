//! The latest entries of a conversation in memory, contiguous up to its head: what a resume reads without touching the store,
//! and everything the store does not have yet.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::frames::Frames;
use crate::id::ConversationId;
use crate::ports::chats::{Entry, StoredChange, StoredUpdate};
use crate::protocol::ServerFrame;
use crate::protocol::server::{Change, Update};
use crate::system::view;

/// Stored entries kept for those who come back, or read for the first of them: one replay's worth (`sync_messages`).
const KEPT: usize = 100;

/// One entry and its frame. The frame may be a part of what its whole batch was encoded as.
#[derive(Clone)]
pub struct Kept {
    pub entry: Arc<Entry>,
    pub frame: Frames,
}

/// Entries from `first()` to the head, without a hole.
#[derive(Default)]
pub struct Tail {
    entries: VecDeque<Kept>,
}

impl Tail {
    /// The seq of the oldest entry here, or what the next one will have.
    pub fn first(&self, head: u64) -> u64 {
        head + 1 - self.entries.len() as u64
    }

    pub fn get(&self, seq: u64, head: u64) -> Option<&Kept> {
        let index = seq.checked_sub(self.first(head))?;
        self.entries.get(index as usize)
    }

    /// Entries with `from <= seq <= to`, oldest first, as far as they are here.
    pub fn range(&self, from: u64, to: u64, head: u64) -> impl Iterator<Item = &Kept> {
        let first = self.first(head);
        let start = from.saturating_sub(first) as usize;
        let end = (to + 1).saturating_sub(first) as usize;
        self.entries.iter().take(end).skip(start)
    }

    /// Whether what begins there is not here, though it is among the latest that are kept.
    pub fn lacks(&self, from: u64, head: u64) -> bool {
        from < self.first(head) && from + KEPT as u64 > head
    }

    /// Takes older entries in that were read from the store, if they end where these begin. Into what was read the updates up
    /// to `folded` are folded already.
    pub fn fill(&mut self, conversation: ConversationId, older: Vec<Entry>, folded: u64, head: u64) {
        let first = self.first(head);
        let seqs = older.iter().rev().map(Entry::seq);
        if !seqs.eq((1..first).rev().take(older.len())) {
            return;
        }
        for entry in older.into_iter().rev() {
            self.entries.push_front(keep(conversation, Arc::new(entry)));
        }
        for update in self.updates(folded + 1, head, first) {
            self.fold(conversation, &update, head);
        }
    }

    /// Updates with `from <= seq <= head` of messages below a seq.
    pub fn updates(&self, from: u64, head: u64, below: u64) -> Vec<StoredUpdate> {
        let updates = self
            .range(from, head, head)
            .filter_map(|kept| match kept.entry.as_ref() {
                Entry::Update(update) if update.of < below => Some(update.clone()),
                _ => None,
            });
        updates.collect()
    }

    /// Takes the next entry.
    pub fn push(&mut self, kept: Kept) {
        self.entries.push_back(kept);
    }

    /// Folds an update, already pushed itself, into the message it names, and takes a deleted message's text out of its edits.
    pub fn fold(&mut self, conversation: ConversationId, update: &StoredUpdate, head: u64) {
        let first = self.first(head);
        let mut deleted = update.change == StoredChange::Delete;
        if let Some(kept) = update
            .of
            .checked_sub(first)
            .and_then(|index| self.entries.get_mut(index as usize))
            && let Entry::Message(message) = kept.entry.as_ref()
        {
            let mut message = message.clone();
            message.fold(update);
            deleted = message.deleted;
            *kept = keep(conversation, Arc::new(Entry::Message(message)));
        }
        if deleted {
            self.scrub(conversation, update.of);
        }
    }

    fn scrub(&mut self, conversation: ConversationId, of: u64) {
        for kept in &mut self.entries {
            if let Entry::Update(edit) = kept.entry.as_ref()
                && edit.of == of
                && matches!(edit.change, StoredChange::Edit { body: Some(_) })
            {
                let scrubbed = StoredUpdate {
                    change: StoredChange::Edit { body: None },
                    ..edit.clone()
                };
                *kept = keep(conversation, Arc::new(Entry::Update(scrubbed)));
            }
        }
    }

    /// Forgets old entries the store has: all up to `stored`, but for the latest `KEPT`.
    pub fn trim(&mut self, stored: u64, head: u64) {
        while self.entries.len() > KEPT && self.first(head) <= stored {
            self.entries.pop_front();
        }
    }
}

fn keep(conversation: ConversationId, entry: Arc<Entry>) -> Kept {
    Kept {
        frame: Frames::one(frame(conversation, &entry)),
        entry,
    }
}

/// The frame of an entry.
pub fn frame(conversation: ConversationId, entry: &Entry) -> ServerFrame {
    match entry {
        Entry::Message(message) => ServerFrame::Message(Box::new(view(conversation, message))),
        Entry::Update(update) => ServerFrame::Update(Box::new(Update {
            conversation,
            seq: update.seq,
            of: update.of,
            from: update.from,
            at: update.at,
            change: match &update.change {
                StoredChange::Edit { body } => Change::Edit { body: body.clone() },
                StoredChange::Delete => Change::Delete,
                StoredChange::React { emoji, remove } => Change::React {
                    emoji: emoji.clone(),
                    remove: *remove,
                },
            },
        })),
    }
}

#[cfg(test)]
mod tests;
