//! What surrounds a conversation's pure state: loading, appending, answering.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::actor::{Msg, Seed};
use super::audience::Audience;
use super::command::{Command, Record, Writer};
use super::fill::{Fill, Replay};
use super::hold::{Announcement, Line, What};
use super::state::{Outcome, Refusal, State};
use super::table::Hot;
use super::tail::Tail;
use crate::defaults;
use crate::handover::again;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Answer, Ask, Origin, Question, Reply};
use crate::ports::PortError;
use crate::ports::chats::DEDUPE_WINDOW;
use crate::ports::log::Offset;
use crate::protocol::{ErrorCode, Problem};
use crate::time::Timestamp;

/// A conversation in memory.
pub struct Shell {
    pub(super) core: Arc<Hub>,
    pub(super) id: ConversationId,
    pub(super) hot: Arc<Hot>,
    pub(super) state: State,
    loaded: bool,
    /// Another node owns the conversation.
    retired: bool,
    pub(super) tail: Tail,
    /// Replays that wait for older entries of it.
    pub(super) fill: Fill,
    /// Own appends that were not read back yet.
    pub(super) in_flight: u32,
    /// What the store has: everything below this offset, up to that head.
    pub(super) stored_applied: Offset,
    pub(super) stored_head: u64,
    /// Changes that wait for an earlier one of the same message to be read back.
    pub(super) changing: HashMap<u64, VecDeque<Ask>>,
    /// Sends behind one of the same author that waits for a word of the store: an author's messages stand in the order in
    /// which they came, whichever of them memory alone can judge. Bounded by the sends a user may have unanswered.
    pub(super) held: HashMap<UserId, Line>,
    /// What is to be said once it is stored.
    pub(super) announcements: Vec<Announcement>,
    pub(super) audience: Audience,
}

impl Shell {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            state: State::empty(seed.conversation),
            core: seed.core,
            id: seed.conversation,
            hot: seed.hot,
            loaded: false,
            retired: false,
            tail: Tail::default(),
            fill: Fill::default(),
            in_flight: 0,
            stored_applied: 0,
            stored_head: 0,
            changing: HashMap::new(),
            held: HashMap::new(),
            announcements: Vec::new(),
            audience: Audience::default(),
        }
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Loads the snapshot, however long the store is away: what waits in the mailbox must not be lost.
    pub(super) async fn load(&mut self) {
        let mut pause = defaults::LOAD_RETRY;
        loop {
            match self.core.chats.conversation(self.id).await {
                Ok(snapshot) => {
                    if let Some(snapshot) = snapshot {
                        self.state = State::load(self.id, snapshot);
                    }
                    break;
                }
                Err(error) => {
                    error.log(format_args!("load conversation {}; trying again", self.id));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
        self.stored_applied = self.state.applied;
        self.stored_head = self.state.head;
        self.show();
        self.loaded = true;
    }

    /// Lets others see how far the conversation has come.
    pub(super) fn show(&self) {
        self.hot.head.store(self.state.head, Ordering::Release);
        self.hot.active_at.store(self.state.active_at.0, Ordering::Release);
    }

    pub(super) fn ask(&mut self, ask: Box<Ask>) {
        self.core.conversations.touch(&self.hot);
        let Ask { origin, question, .. } = *ask;
        match question {
            Question::Do { command, repeat } => self.command(origin, command, repeat),
            Question::Change(change) => self.change(origin, change),
            Question::Entries { from, to, user } => self.entries(Replay { origin, user, from, to }),
            Question::History { user, span, limit } => self.history(origin, user, span, limit),
            Question::Summary { user, read } => self.summary(origin, user, read),
            Question::Members { user, after, limit } => self.members(origin, user, after, limit),
            Question::Receipt { user, delivered, read } => self.receipt(user, delivered, read),
            Question::Typing { user } => self.typing(user),
            Question::User(_) => tracing::error!(conversation = %self.id, "a conversation was asked about a user"),
        }
    }

    fn command(&mut self, origin: Origin, command: Command, repeat: bool) {
        if let Command::Send { from, .. } = &command
            && let Some(behind) = self.held.get_mut(from)
        {
            return behind.asks.push_back(Ask {
                conversation: self.id,
                origin,
                question: Question::Do { command, repeat },
            });
        }
        if let Command::Send { from, id, .. } = &command
            && self.state.is_member(*from)
            && let Some((seq, at)) = self.state.window.recall(*from, id)
        {
            return self.done(
                origin,
                Outcome::Sent {
                    seq,
                    at,
                    duplicate: true,
                },
            );
        }
        if let Err(refusal) = self.check(&command) {
            return self.refuse_change(origin, command.author(), refusal);
        }
        if !self.core.projector.has_room_for(self.id) {
            return self.answer(
                origin,
                Err(Problem::unavailable("the store is behind; nothing was sent")),
            );
        }
        // Of more under way than the window holds, the last would come too late.
        if self.in_flight as usize >= DEDUPE_WINDOW {
            return self.answer(origin, Err(Problem::unavailable("the log is behind; nothing was sent")));
        }
        if self.needs_store(&command, repeat) {
            return self.ask_store(Ask {
                conversation: self.id,
                origin,
                question: Question::Do { command, repeat },
            });
        }
        self.append(origin, command, self.state.head);
    }

    fn check(&self, command: &Command) -> Result<(), Refusal> {
        self.state.check(command)?;
        if let Command::Add { users, .. } = command {
            let limit = self.core.limits.group_members;
            let new = users
                .iter()
                .filter(|user| !self.state.members.contains_key(*user))
                .count();
            if self.state.members.len() + new > limit {
                return Err(Problem::too_large("users: the members of a group", limit).into());
            }
        }
        Ok(())
    }

    /// Whether memory alone cannot tell that a command is new and names what exists.
    fn needs_store(&self, command: &Command, repeat: bool) -> bool {
        match command {
            Command::Send { peer, content, .. } => {
                let first = self.state.profile.is_none() && peer.is_some();
                let names_others = content.reply_to.is_some() || !content.attachments.is_empty();
                first || names_others || (repeat && self.state.window.is_truncated())
            }
            Command::Open { .. } => self.state.profile.is_none(),
            _ => false,
        }
    }

    /// Appends what repeats nothing up to the head `checked`.
    pub(super) fn append(&mut self, origin: Origin, command: Command, checked: u64) {
        let at = Timestamp::now().max(self.state.active_at);
        let writer = command.changes_group().then(|| Writer {
            process: self.core.process,
            seen: self.state.applied,
        });
        let record = Record {
            conversation: self.id,
            at,
            checked: Some(checked),
            writer,
            command,
        };
        match self.core.shard(self.id.as_bytes()).append(&self.core, record, origin) {
            Ok(()) => self.in_flight += 1,
            Err(back) => {
                let (record, origin) = *back;
                self.moved(record, origin);
            }
        }
    }

    /// The shard takes no more appends here: its new owner is asked.
    fn moved(&mut self, record: Record, origin: Origin) {
        if let Command::Update { of, .. } = &record.command {
            self.changing
                .remove(of)
                .into_iter()
                .flatten()
                .for_each(|ask| self.core.bounce(ask, false));
        }
        self.core.bounce(again(self.id, origin, record.command), false);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    pub(super) fn pass_on(&self, ask: Ask) {
        self.core.bounce(ask, false);
    }

    /// Another node owns the conversation: what waits here is asked there.
    pub(super) fn retire(&mut self) {
        self.retired = true;
        self.core.conversations.remove(self.id);
        let waiting = self.changing.drain().flat_map(|(_, asks)| asks);
        let held = self.held.drain();
        let held = held.filter_map(|(_, line)| line.heir.leave(line.asks).err()).flatten();
        for ask in waiting.chain(held).chain(self.fill.leave(self.id)) {
            self.core.bounce(ask, false);
        }
        for announcement in std::mem::take(&mut self.announcements) {
            match announcement.what {
                What::Answer(to @ Origin::Node { .. }, _) | What::Refusal(to @ Origin::Node { .. }, ..) => {
                    let epoch = self.core.router.table().epoch;
                    self.answer(to, Ok(Reply::NotOwner { epoch, appended: true }));
                }
                What::Answer(origin, outcome) => self.done(origin, outcome),
                What::Refusal(origin, author, refusal) => self.refuse(origin, author, refusal),
                // The new owner, who reads the same records, announces it.
                _ => {}
            }
        }
    }

    /// An append that is not in the log, or may not be.
    pub(super) fn failed(&mut self, record: &Record, origin: Origin, error: PortError) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.answer(origin, Err(error.into()));
        if let Command::Update { of, .. } = &record.command {
            self.change_settled(*of);
        }
    }

    pub(super) fn done(&self, origin: Origin, outcome: Outcome) {
        self.answer(
            origin,
            Ok(Reply::Done {
                conversation: self.id,
                outcome,
            }),
        );
    }

    pub(super) fn answer(&self, origin: Origin, reply: Result<Reply, Problem>) {
        self.core.answer(origin, reply);
    }

    /// Tells an author why not, as soon as that is stored: of one who asks again to have a member removed, a refusal means that it
    /// was done.
    pub(super) fn refuse_change(&mut self, origin: Origin, author: UserId, refusal: Refusal) {
        let leaves = |it: &Announcement| matches!(it.what, What::Left { .. } | What::Deleted { .. });
        if self.announcements.iter().any(leaves) {
            let (after, what) = (self.state.applied, What::Refusal(origin, author, refusal));
            return self.announcements.push(Announcement { after, what });
        }
        self.refuse(origin, author, refusal);
    }

    /// Tells an author why not. An ex-member hears `not_member`, a stranger `not_found`.
    pub(super) fn refuse(&self, origin: Origin, author: UserId, refusal: Refusal) {
        let problem = match refusal {
            Refusal::Problem(problem) => return self.answer(origin, Err(problem)),
            Refusal::Outsider => Problem::not_found("conversation"),
        };
        let (core, id) = (Arc::clone(&self.core), self.id);
        self.core.runtime.spawn(async move {
            let problem = match core.chats.was_member(id, author).await {
                Ok(true) => Problem::new(ErrorCode::NotMember, "no longer a member of this conversation"),
                Ok(false) => problem,
                Err(error) => error.into(),
            };
            core.answer(origin, Err(problem));
        });
    }

    /// Leaves the memory when nothing is under way and everything is stored.
    pub(super) fn passivate(&mut self) -> bool {
        let quiet = self.in_flight == 0
            && self.changing.is_empty()
            && self.held.is_empty()
            && self.fill.is_idle()
            && self.announcements.is_empty()
            && self.stored_applied >= self.state.applied;
        let leaves = quiet && self.core.conversations.leave(self.id);
        if leaves {
            self.disperse();
        }
        leaves
    }
}

impl Hub {
    /// Hands an ask that waited for the store back to its conversation, or to the node that owns it by now.
    /// Says which: true when it was to its conversation.
    pub(super) fn go_on(self: &Arc<Self>, ask: Ask, msg: impl FnOnce(Box<Ask>) -> Msg) -> bool {
        let conversation = ask.conversation;
        let here = self.shard(conversation.as_bytes()).life.is_open();
        if here {
            self.conversations.tell(self, conversation, msg(Box::new(ask)));
        } else {
            self.bounce(ask, false);
        }
        here
    }

    /// Sends an answer to whoever asked.
    pub fn answer(self: &Arc<Self>, to: Origin, reply: Result<Reply, Problem>) {
        if !matches!(to, Origin::Nobody) {
            self.send_to_origin(Answer { to, reply });
        }
    }
}
