//! Messages over HTTP: the same commands as frames, answered to a task.

use super::{System, view};
use crate::conversation::state::Outcome;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Change, Question, Reply, Slice};
use crate::ports::chats::{Entry, Span, StoredChange, StoredMessage};
use crate::protocol::view::{History, Message, Receipt};
use crate::protocol::{ErrorCode, Problem, Send};
use crate::session::link::answered_otherwise;
use crate::time::Timestamp;
use crate::validate;
use std::sync::Arc;

impl System {
    /// Sends a message; the flag says that it is a repeat and the message the first one.
    pub async fn send(&self, user: UserId, send: Send) -> Result<(Message, bool), Problem> {
        let core = &self.0;
        let (conversation, command) = validate::send(user, &send, &core.limits)?;
        self.admit(user)?;
        let Outcome::Sent { seq, duplicate, .. } = self.command(conversation, command).await? else {
            return Err(answered_otherwise());
        };
        let message = core.message(conversation, seq).await?;
        Ok((view(conversation, &message), duplicate))
    }

    /// The budget is the user's, whichever way messages come.
    fn admit(&self, user: UserId) -> Result<(), Problem> {
        let (core, now) = (&self.0, Timestamp::now());
        let cell = core.sessions.get_or_make(user);
        let admitted = cell.admit(&core.limits, now);
        if cell.state().attached.is_empty() {
            core.sessions.vacated(Arc::clone(&cell), now);
        }
        admitted
            .map_err(|ms| Problem::new(ErrorCode::RateLimited, "more messages than a user may send").retry_after(ms))
    }

    /// `limit` is already clamped to 1-500; both `before` and `after` is `bad_request`.
    pub async fn history(
        &self,
        user: UserId,
        conversation: ConversationId,
        before: Option<u64>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<History, Problem> {
        self.0
            .history(user, conversation, validate::span(before, after)?, limit)
            .await
    }

    /// Edits a message of one's own; answers the seq of the update.
    pub async fn edit(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: u64,
        body: String,
    ) -> Result<Option<u64>, Problem> {
        validate::edit(&body, &self.0.limits)?;
        self.change(user, conversation, seq, StoredChange::Edit { body: Some(body) })
            .await
    }

    /// Deletes a message of one's own, or any as a group's admin.
    pub async fn delete(&self, user: UserId, conversation: ConversationId, seq: u64) -> Result<Option<u64>, Problem> {
        self.change(user, conversation, seq, StoredChange::Delete).await
    }

    /// Adds or removes a reaction; of a repeat the seq may not be known any more.
    pub async fn react(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: u64,
        emoji: String,
        remove: bool,
    ) -> Result<Option<u64>, Problem> {
        validate::emoji(&emoji)?;
        self.change(user, conversation, seq, StoredChange::React { emoji, remove })
            .await
    }

    async fn change(
        &self,
        from: UserId,
        conversation: ConversationId,
        of: u64,
        change: StoredChange,
    ) -> Result<Option<u64>, Problem> {
        let question = Question::Change(Change {
            from,
            of,
            change,
            idempotency: Some(self.0.outstanding.number()),
        });
        match self.0.call(conversation, question).await? {
            Reply::Done {
                outcome: Outcome::Updated { seq },
                ..
            } => Ok(Some(seq)),
            Reply::Repeated { seq } => Ok(seq),
            _ => Err(answered_otherwise()),
        }
    }

    /// Receipts of the members beyond a cursor, by user id.
    pub async fn receipts(
        &self,
        user: UserId,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, Problem> {
        self.0.summary(user, conversation, u64::MAX - 1).await?;
        let stored = self.0.chats.receipts(conversation, after, limit).await?;
        let receipt = |cursors: crate::ports::chats::Cursors| {
            let mut receipt = Receipt {
                user: cursors.user,
                delivered: cursors.delivered,
                read: cursors.read,
            };
            self.0.newest_cursors(conversation, &mut receipt);
            receipt
        };
        Ok(stored.into_iter().map(receipt).collect())
    }
}

impl Hub {
    /// A page of history for a member.
    pub async fn history(
        self: &Arc<Self>,
        user: UserId,
        conversation: ConversationId,
        span: Span,
        limit: usize,
    ) -> Result<History, Problem> {
        let Reply::Entries(slice) = self.call(conversation, Question::History { user, span, limit }).await? else {
            return Err(answered_otherwise());
        };
        let (messages, more) = match span {
            Span::Before(before) => self.latest_before(conversation, slice, before, limit).await?,
            Span::After(after) => self.earliest_after(conversation, slice, after, limit).await?,
        };
        let items = messages.iter().map(|message| view(conversation, message)).collect();
        Ok(History {
            items,
            more,
            next: None,
        })
    }

    /// Memory has the newest; what lacks to the limit is in the store, below.
    async fn latest_before(
        &self,
        conversation: ConversationId,
        slice: Slice,
        before: u64,
        limit: usize,
    ) -> Result<(Vec<StoredMessage>, bool), Problem> {
        let mut messages: Vec<_> = slice
            .entries
            .iter()
            .rev()
            .filter_map(|(entry, _)| message_of(entry))
            .collect();
        let in_memory = messages.len();
        messages.truncate(limit);
        if in_memory > limit {
            return Ok((messages, true));
        }
        let below = before.min(slice.tail_first);
        if below <= 1 {
            return Ok((messages, false));
        }
        let lacking = limit - messages.len();
        let (stored, more) = self
            .chats
            .messages(conversation, Span::Before(below), lacking.max(1))
            .await?;
        let more = more || (lacking == 0 && !stored.is_empty());
        messages.extend(stored.into_iter().take(lacking).map(|message| slice.fold(message)));
        Ok((messages, more))
    }

    /// The store has the oldest; what lacks to the limit is in memory, above.
    async fn earliest_after(
        &self,
        conversation: ConversationId,
        slice: Slice,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<StoredMessage>, bool), Problem> {
        let mut messages = Vec::new();
        if after.saturating_add(1) < slice.tail_first {
            let (stored, more) = self.chats.messages(conversation, Span::After(after), limit).await?;
            let below = stored.into_iter().filter(|message| message.seq < slice.tail_first);
            messages.extend(below.map(|message| slice.fold(message)));
            if messages.len() >= limit {
                return Ok((messages, more || !slice.entries.is_empty()));
            }
        }
        messages.extend(slice.entries.iter().filter_map(|(entry, _)| message_of(entry)));
        let more = messages.len() > limit;
        messages.truncate(limit);
        Ok((messages, more))
    }

    /// A message that was answered `sent`, from memory or from the store.
    async fn message(self: &Arc<Self>, conversation: ConversationId, seq: u64) -> Result<StoredMessage, Problem> {
        let slice = self.slice(conversation, None, seq, seq).await?;
        match slice.entries.first().and_then(|(entry, _)| message_of(entry)) {
            Some(message) => Ok(message),
            None => {
                let stored = self.chats.message(conversation, seq).await?;
                stored
                    .map(|message| slice.fold(message))
                    .ok_or_else(|| Problem::not_found("message"))
            }
        }
    }
}

impl Slice {
    fn fold(&self, mut message: StoredMessage) -> StoredMessage {
        message.fold_all(&self.folds);
        message
    }
}

fn message_of(entry: &Entry) -> Option<StoredMessage> {
    match entry {
        Entry::Message(message) => Some(message.clone()),
        Entry::Update(_) => None,
    }
}
