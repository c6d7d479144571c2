//! What members may read of a conversation, as far as it is in memory; the asker reads the rest from the store, but for the latest
//! entries, which come into memory for it. A line about it is read from the store altogether where it is not in memory.

use std::sync::Arc;

use super::actor::Msg;
use super::fill::{Read, Replay};
use super::shell::Shell;
use super::state::Refusal;
use crate::frames::Frames;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Ask, Delivery, Members, Origin, Reply, Slice, Summary};
use crate::ports::PortResult;
use crate::ports::chats::{Entry, Profile, Span};
use crate::protocol::view::Kind;
use crate::protocol::{Problem, ServerFrame};

impl Shell {
    /// Entries for a replay, read into the tail first where it should have them.
    pub(super) fn entries(&mut self, replay: Replay) {
        let may_read = replay.user.is_none_or(|user| self.reader(user).is_ok());
        if may_read && self.tail.lacks(replay.from, self.state.head) {
            self.fill.wait(replay);
            return self.read_back();
        }
        self.replay(replay);
    }

    /// That a session wants a replay does not say that its user is a member: it may not have heard otherwise.
    fn replay(&self, Replay { origin, user, from, to }: Replay) {
        // An owner that is behind what another one has told of may not know either who joined since.
        let is_behind = self.state.head < from;
        if let Some(user) = user
            && !is_behind
            && let Err(refusal) = self.reader(user)
        {
            return self.refuse(origin, user, refusal);
        }
        self.answer(origin, Ok(Reply::Entries(self.slice(from, to))));
    }

    /// Reads what the tail lacks for those who wait for it.
    fn read_back(&mut self) {
        let Some(read) = self.fill.next(self.stored_head) else {
            return;
        };
        let upto = self.tail.first(self.state.head) - 1;
        let (core, id) = (Arc::clone(&self.core), self.id);
        self.core.runtime.spawn(async move {
            let most = (upto + 1).saturating_sub(read.from) as usize;
            let entries = core.chats.entries(id, read.from, upto, most).await;
            core.conversations.tell_hot(id, Msg::Filled(read, entries));
        });
    }

    /// What was read comes. Where it could not be read, those who waited ask the store themselves.
    pub(super) fn filled(&mut self, read: Read, entries: PortResult<Vec<Entry>>) {
        let waited = self.fill.finish(read);
        match entries {
            Ok(entries) => self.tail.fill(self.id, entries, read.folded, self.state.head),
            Err(error) => error.log(format_args!("read the latest entries of conversation {}", self.id)),
        }
        waited.into_iter().for_each(|replay| self.replay(replay));
        self.read_back();
    }

    /// Entries with `from <= seq <= to`: what is older than the tail is left to the store.
    fn slice(&self, from: u64, to: u64) -> Slice {
        let head = self.state.head;
        let to = to.min(head);
        let first = self.tail.first(head);
        let entries = self.tail.range(from, to, head);
        Slice {
            head,
            tail_first: first,
            stored: (from < first && from <= to).then(|| (from, to.min(first - 1))),
            folds: self.folds(),
            entries: entries.map(|kept| (kept.entry.clone(), kept.frame.clone())).collect(),
        }
    }

    /// A reader must be a member now.
    fn reader(&self, user: UserId) -> Result<(), Refusal> {
        match (self.state.exists(), self.state.is_member(user)) {
            (true, true) => Ok(()),
            (true, false) => Err(Refusal::Outsider),
            (false, _) => Err(Problem::not_found("conversation").into()),
        }
    }

    pub(super) fn history(&self, origin: Origin, user: UserId, span: Span, limit: usize) {
        if let Err(refusal) = self.reader(user) {
            return self.refuse(origin, user, refusal);
        }
        self.answer(origin, Ok(Reply::Entries(self.messages(span, limit))));
    }

    /// The messages of a span that are in memory, one more than asked for so that it shows whether there are more.
    fn messages(&self, span: Span, limit: usize) -> Slice {
        let head = self.state.head;
        let first = self.tail.first(head);
        let (from, to) = match span {
            Span::Before(before) => (first, before.saturating_sub(1).min(head)),
            Span::After(after) => (after.saturating_add(1).max(first), head),
        };
        let range = self
            .tail
            .range(from, to, head)
            .filter(|kept| matches!(*kept.entry, Entry::Message(_)));
        let mut entries: Vec<_> = range.map(|kept| (kept.entry.clone(), kept.frame.clone())).collect();
        match span {
            Span::Before(_) => drop(entries.drain(..entries.len().saturating_sub(limit + 1))),
            Span::After(_) => entries.truncate(limit + 1),
        }
        Slice {
            head,
            tail_first: first,
            stored: None,
            folds: self.folds(),
            entries,
        }
    }

    pub(super) fn summary(&self, origin: Origin, user: UserId, read: u64) {
        if let Err(refusal) = self.reader(user) {
            return self.refuse(origin, user, refusal);
        }
        let head = self.state.head;
        let first = self.tail.first(head);
        let latest = self
            .tail
            .range(first, head, head)
            .filter(|kept| matches!(*kept.entry, Entry::Message(_)))
            .last();
        let summary = Summary {
            unread: self.state.authors.unread(user, read),
            unread_stored: self.state.authors.older(read),
            latest: latest.map(|kept| kept.entry.clone()),
            ..Summary::of(self.id, self.state.profile.as_ref(), user, head)
        };
        self.answer(origin, Ok(Reply::Summary(summary)));
    }

    pub(super) fn members(&self, origin: Origin, user: UserId, after: Option<UserId>, limit: usize) {
        if let Err(refusal) = self.reader(user) {
            return self.refuse(origin, user, refusal);
        }
        let (
            Some(Profile::Group {
                name,
                photo,
                description,
                ..
            }),
            Some(owner),
        ) = (&self.state.profile, self.state.owner())
        else {
            return self.answer(origin, Err(Problem::not_found("group")));
        };
        let (created_at, updated_at) = self.group_times();
        let beyond = |user: &UserId| after.is_none_or(|after| *user > after);
        let page = self.state.members.iter().filter(|(user, _)| beyond(user)).take(limit);
        let members = Members {
            name: name.clone(),
            photo: *photo,
            description: description.clone(),
            owner,
            created_at,
            updated_at,
            count: self.state.members.len(),
            page: page.map(|(_, member)| member.clone()).collect(),
        };
        self.answer(origin, Ok(Reply::Members(Box::new(members))));
    }

    /// Small enough that everybody is told of everybody's cursors and typing.
    fn is_small(&self) -> bool {
        self.state.members.len() <= self.core.limits.receipt_push_members
    }

    pub(super) fn receipt(&mut self, user: UserId, delivered: u64, read: u64) {
        if self.state.is_member(user) && self.is_small() {
            let frame = ServerFrame::Receipt {
                conversation: self.id,
                user,
                delivered,
                read,
            };
            self.deliver(Delivery::Ephemeral(Frames::one(frame), None));
        }
    }

    pub(super) fn typing(&mut self, user: UserId) {
        if self.state.is_member(user) && self.is_small() {
            let frame = ServerFrame::Typing {
                conversation: self.id,
                user,
            };
            self.deliver(Delivery::Ephemeral(Frames::one(frame), Some(user)));
        }
    }
}

impl Hub {
    /// Answers for a conversation that is not in memory, all of which is stored then: who lists a hundred does not wake them
    /// all. What the store cannot answer by itself is asked of the conversation.
    pub(crate) fn summarize(self: &Arc<Self>, ask: Ask, user: UserId, read: u64) {
        let core = Arc::clone(self);
        self.runtime.spawn(async move {
            let Ok(Some(stored)) = core.chats.overview(ask.conversation, user, read).await else {
                return match core.shard(ask.conversation.as_bytes()).life.is_open() {
                    true => core.ask_conversation(Box::new(ask)),
                    false => core.bounce(ask, false),
                };
            };
            let summary = Summary {
                unread: stored.unread,
                latest: stored.latest.map(|message| Arc::new(Entry::Message(message))),
                ..Summary::of(ask.conversation, Some(&stored.profile), user, stored.head)
            };
            core.answer(ask.origin, Ok(Reply::Summary(summary)));
        });
    }
}

impl Summary {
    /// What a member is told of a conversation, without its messages.
    fn of(conversation: ConversationId, profile: Option<&Profile>, user: UserId, head: u64) -> Self {
        let (group_name, photo, peer) = match profile {
            Some(Profile::Group { name, photo, .. }) => (Some(name.clone()), *photo, None),
            Some(Profile::Direct { pair, .. }) => (None, None, pair.iter().find(|other| **other != user).copied()),
            None => (None, None, None),
        };
        Self {
            kind: if conversation.is_direct() {
                Kind::Direct
            } else {
                Kind::Group
            },
            group_name,
            photo,
            peer,
            head,
            unread: 0,
            unread_stored: None,
            latest: None,
        }
    }
}
