//! Edits, deletions and reactions: each is judged against the message it names, one at a time a message.
//!
//! Nodes ask again for what a broken link or a move left without an answer, and it may have been made by then. A reaction or a
//! deletion is known again by what it did. Not so an edit: another may stand since, which it must not undo. So each asking of a
//! user has an idempotency key, which its update keeps: those of the latest entries are part of the state (`changes.rs`).

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
use crate::ports::chats::{DEDUPE_WINDOW, Entry, StoredChange, StoredMessage, StoredUpdate};
use crate::protocol::Problem;

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
        let head = self.state.head;
        let message = match self.tail.get(of, head).map(|kept| kept.entry.as_ref()) {
            Some(Entry::Message(message)) => Some(Box::new(message.clone())),
            Some(Entry::Update(_)) => None,
            None => return self.look_up(of, ask),
        };
        self.judged(ask, head, Ok(message));
    }

    fn look_up(&self, of: u64, ask: Ask) {
        let core = Arc::clone(&self.core);
        let (folds, head) = (self.folds(), self.state.head);
        self.core.runtime.spawn(async move {
            let mut found = core.chats.message(ask.conversation, of).await;
            if let Ok(Some(message)) = &mut found {
                message.fold_all(&folds);
            }
            let message = found.map(|message| message.map(Box::new));
            core.go_on(ask, |ask| Msg::Judged(ask, head, message));
        });
    }

    /// Goes on with a change whose message was looked for, at that head.
    pub(super) fn judged(&mut self, ask: Ask, head: u64, message: PortResult<Option<Box<StoredMessage>>>) {
        let Question::Change(change) = ask.question else {
            return;
        };
        let of = change.of;
        match self.judgement(&change, message) {
            Judgement::Append => {
                let command = Command::Update {
                    from: change.from,
                    of,
                    change: change.change,
                    idempotency: change.idempotency,
                };
                return self.append(ask.origin, command, head);
            }
            Judgement::Refuse(problem) => self.answer(ask.origin, Err(problem)),
            Judgement::Made(seq) => self.answer(ask.origin, Ok(Reply::Repeated { seq: Some(seq) })),
            Judgement::Repeat => self.repeated(ask.origin, change.from, of, change.change),
        }
        self.change_settled(of);
    }

    fn judgement(&self, change: &Change, message: PortResult<Option<Box<StoredMessage>>>) -> Judgement {
        let made = |key| self.state.changes.made((change.of, change.from), key);
        if let Some(seq) = change.idempotency.and_then(made) {
            return Judgement::Made(seq);
        }
        // Of more under way than the window holds, the last would come too late.
        if self.in_flight as usize >= DEDUPE_WINDOW {
            return Judgement::Refuse(Problem::unavailable("the log is behind; nothing was changed"));
        }
        match message {
            Err(error) => Judgement::Refuse(error.into()),
            Ok(None) => Judgement::Refuse(Problem::not_found("message")),
            Ok(Some(message)) => {
                let role = self.state.members.get(&change.from).map(|member| member.role);
                let role = role.filter(|_| !self.id.is_direct());
                judge(&message, change.from, role, &change.change)
            }
        }
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
