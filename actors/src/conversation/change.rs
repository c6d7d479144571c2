//! Edits, deletions and reactions: each is judged against the message it names, one at a time a message.
//!
//! Nodes ask again for what a broken link or a move left without an answer, and it may have been made by then. A reaction or a
//! deletion is known again by what it did. Not so an edit: another may stand since, which it must not undo. So each asking of a
//! user has an idempotency key, which its update keeps.

use std::collections::VecDeque;
use std::sync::Arc;

use super::actor::Msg;
use super::command::Command;
use super::shell::Shell;
use super::update::{Judgement, judge};
use crate::defaults;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Ask, Change, Origin, Question, Reply};
use crate::ports::PortResult;
use crate::ports::chats::{Entry, StoredChange, StoredMessage, StoredUpdate};
use crate::protocol::Problem;

/// What memory or the store knows of a change's message.
#[derive(Default)]
pub struct Found {
    message: Option<Box<StoredMessage>>,
    /// The seq of what an earlier asking made.
    made: Option<u64>,
}

impl Shell {
    pub(super) fn change(&mut self, origin: Origin, change: Change) {
        let (from, of) = (change.from, change.of);
        if let Err(refusal) = self.state.check_change(from, of) {
            return self.refuse(origin, from, refusal);
        }
        let ask = Ask {
            conversation: self.id,
            origin,
            question: Question::Change(change),
        };
        match self.changing.get_mut(&of) {
            Some(waiting) if waiting.len() >= defaults::CHANGES_WAITING => {
                self.answer(
                    ask.origin,
                    Err(Problem::unavailable("too many changes of this message at once")),
                );
            }
            Some(waiting) => waiting.push_back(ask),
            None => self.start_change(of, ask),
        }
    }

    /// Finds the message a change names, in memory or in the store.
    fn start_change(&mut self, of: u64, ask: Ask) {
        self.changing.insert(of, VecDeque::new());
        // What is in memory now may be in the store alone when that was asked.
        if let Question::Change(change) = &ask.question
            && let made @ Some(_) = self.made(change)
        {
            let found = Found { message: None, made };
            return self.judged(ask, Ok(found));
        }
        let message = match self.tail.get(of, self.state.head).map(|kept| kept.entry.as_ref()) {
            Some(Entry::Message(message)) => Some(Box::new(message.clone())),
            Some(Entry::Update(_)) => None,
            None => return self.look_up(of, ask),
        };
        self.judged(ask, Ok(Found { message, made: None }));
    }

    fn look_up(&self, of: u64, ask: Ask) {
        let core = Arc::clone(&self.core);
        let (folds, first) = (self.folds(), self.tail.first(self.state.head));
        self.core.runtime.spawn(async move {
            let found = find(&core, &ask, (of, first.saturating_sub(1)), &folds).await;
            core.go_on(ask, |ask| Msg::Judged(ask, found));
        });
    }

    /// Goes on with a change whose message was looked for.
    pub(super) fn judged(&mut self, ask: Ask, found: PortResult<Found>) {
        let Question::Change(change) = ask.question else {
            return;
        };
        let of = change.of;
        match self.judgement(&change, found) {
            Judgement::Append => {
                let command = Command::Update {
                    from: change.from,
                    of,
                    change: change.change,
                    idempotency: change.idempotency,
                };
                return self.append(ask.origin, command, self.state.head);
            }
            Judgement::Refuse(problem) => self.answer(ask.origin, Err(problem)),
            Judgement::Made(seq) => self.answer(ask.origin, Ok(Reply::Repeated { seq: Some(seq) })),
            Judgement::Repeat => self.repeated(ask.origin, change.from, of, change.change),
        }
        self.change_settled(of);
    }

    fn judgement(&self, change: &Change, found: PortResult<Found>) -> Judgement {
        let found = match found {
            Ok(found) => found,
            Err(error) => return Judgement::Refuse(error.into()),
        };
        if let Some(seq) = found.made.or_else(|| self.made(change)) {
            return Judgement::Made(seq);
        }
        let Some(message) = found.message else {
            return Judgement::Refuse(Problem::not_found("message"));
        };
        let role = self.state.members.get(&change.from).map(|member| member.role);
        judge(
            &message,
            change.from,
            role.filter(|_| !self.id.is_direct()),
            &change.change,
        )
    }

    /// What an earlier asking for it made, as far as that is in memory.
    fn made(&self, change: &Change) -> Option<u64> {
        let (head, is_made) = (self.state.head, made_by(change)?);
        let mut since = self.tail.range(change.of, head, head);
        since.find_map(|kept| match kept.entry.as_ref() {
            Entry::Update(update) if is_made(update) => Some(update.seq),
            _ => None,
        })
    }

    /// The next change of a message may go on.
    pub(super) fn change_settled(&mut self, of: u64) {
        let Some(mut waiting) = self.changing.remove(&of) else {
            return;
        };
        let Some(next) = waiting.pop_front() else { return };
        self.start_change(of, next);
        if let Some(queue) = self.changing.get_mut(&of) {
            queue.extend(waiting);
        } else {
            waiting.into_iter().for_each(|ask| self.ask(Box::new(ask)));
        }
    }

    /// Answers a repeat with the seq of the change it repeats, where that can be found.
    fn repeated(&self, origin: Origin, from: UserId, of: u64, change: StoredChange) {
        let made = |update: &StoredUpdate| update.of == of && same_change(update, from, &change);
        let in_memory = self
            .tail
            .range(of, self.state.head, self.state.head)
            .filter_map(|kept| match kept.entry.as_ref() {
                Entry::Update(update) if made(update) => Some(update.seq),
                _ => None,
            });
        if let Some(seq) = in_memory.last() {
            return self.answer(origin, Ok(Reply::Repeated { seq: Some(seq) }));
        }
        let (core, id) = (Arc::clone(&self.core), self.id);
        let upto = self.tail.first(self.state.head).saturating_sub(1);
        self.core.runtime.spawn(async move {
            let seq = find_update(&core, id, (of, upto), |update| {
                update.of == of && same_change(update, from, &change)
            })
            .await;
            core.answer(origin, seq.map(|seq| Reply::Repeated { seq }).map_err(Problem::from));
        });
    }

    /// Updates in memory that the store may not have folded into older messages yet.
    pub(super) fn folds(&self) -> Vec<StoredUpdate> {
        let head = self.state.head;
        self.tail.updates(self.stored_head + 1, head, self.tail.first(head))
    }
}

/// The message of a change, with `folds` folded in, and what an earlier asking for it made in that range.
async fn find(core: &Hub, ask: &Ask, range: (u64, u64), folds: &[StoredUpdate]) -> PortResult<Found> {
    let Question::Change(change) = &ask.question else {
        return Ok(Found::default());
    };
    let made = match made_by(change).filter(|_| change.repeat) {
        Some(is_made) => find_update(core, ask.conversation, range, is_made).await?,
        None => None,
    };
    let mut message = core.chats.message(ask.conversation, change.of).await?.map(Box::new);
    if let Some(message) = &mut message {
        message.fold_all(folds);
    }
    Ok(Found { message, made })
}

/// What tells the update that an earlier asking for a change made.
fn made_by(change: &Change) -> Option<impl Fn(&StoredUpdate) -> bool + use<>> {
    let (from, key) = (change.from, change.idempotency?);
    Some(move |update: &StoredUpdate| update.idempotency == Some(key) && update.from == from)
}

/// A deletion repeats anybody's, a reaction only one's own.
fn same_change(update: &StoredUpdate, from: UserId, change: &StoredChange) -> bool {
    update.change == *change && (update.from == from || *change == StoredChange::Delete)
}

/// The last update in that range that `made` recognises. Looks at a bounded part of the history.
async fn find_update(
    core: &Hub,
    conversation: ConversationId,
    (after, upto): (u64, u64),
    made: impl Fn(&StoredUpdate) -> bool,
) -> PortResult<Option<u64>> {
    let from = (after + 1).max(upto.saturating_sub(defaults::REPEAT_SEARCH));
    let entries = core
        .chats
        .entries(conversation, from, upto, defaults::REPEAT_SEARCH as usize + 1)
        .await?;
    let found = entries.iter().rev().find_map(|entry| match entry {
        Entry::Update(update) if made(update) => Some(update.seq),
        _ => None,
    });
    Ok(found)
}
