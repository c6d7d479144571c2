//! Edits, deletions and reactions: each is judged against the message it names, one at a time a message.

use std::collections::VecDeque;
use std::sync::Arc;

use super::actor::Msg;
use super::command::Command;
use super::shell::Shell;
use super::update::{Judgement, judge};
use crate::defaults;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Ask, Origin, Question, Reply};
use crate::ports::PortResult;
use crate::ports::chats::{Entry, StoredChange, StoredMessage, StoredUpdate};
use crate::protocol::Problem;

impl Shell {
    pub(super) fn change(&mut self, origin: Origin, from: UserId, of: u64, change: StoredChange) {
        let command = Command::Update {
            from,
            of,
            change: change.clone(),
        };
        if let Err(refusal) = self.state.check(&command) {
            return self.refuse(origin, from, refusal);
        }
        let ask = Ask {
            conversation: self.id,
            origin,
            question: Question::Change { from, of, change },
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
        match self.tail.get(of, self.state.head).map(|kept| kept.entry.as_ref()) {
            Some(Entry::Message(message)) => {
                let message = message.clone();
                self.judged(ask, Some(message));
            }
            Some(Entry::Update(_)) => self.judged(ask, None),
            None => self.look_up(of, ask),
        }
    }

    fn look_up(&self, of: u64, ask: Ask) {
        let core = Arc::clone(&self.core);
        let folds = self.folds();
        self.core.runtime.spawn(async move {
            let found = core.chats.message(ask.conversation, of).await;
            let message = found.unwrap_or_default().map(|mut message| {
                message.fold_all(&folds);
                Box::new(message)
            });
            core.go_on(ask, |ask| Msg::Judged(ask, message));
        });
    }

    /// Goes on with a change whose message was found.
    pub(super) fn judged(&mut self, ask: Ask, message: Option<StoredMessage>) {
        let Question::Change { from, of, change } = ask.question else {
            return;
        };
        let judgement = match &message {
            None => Judgement::Refuse(Problem::not_found("message")),
            Some(message) => {
                let role = self.state.members.get(&from).map(|member| member.role);
                judge(message, from, role.filter(|_| !self.id.is_direct()), &change)
            }
        };
        match judgement {
            Judgement::Append => return self.append(ask.origin, Command::Update { from, of, change }, self.state.head),
            Judgement::Refuse(problem) => self.answer(ask.origin, Err(problem)),
            Judgement::Repeat => self.repeated(ask.origin, from, of, change),
        }
        self.change_settled(of);
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
