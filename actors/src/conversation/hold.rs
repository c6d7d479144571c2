//! What has to wait: commands for a word of the store, announcements for what they announce to be stored.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::actor::Msg;
use super::command::Command;
use super::shell::Shell;
use super::state::{Outcome, Refusal};
use crate::frames::Frames;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Ask, Delivery, Origin, Question};
use crate::ports::PortResult;
use crate::ports::chats::{Entry, Membership, Profile, Sought};
use crate::ports::log::Offset;
use crate::protocol::server::NotificationKind;
use crate::protocol::{Problem, ServerFrame};
use crate::time::Timestamp;

/// What came behind a send that the store is asked about.
pub struct Line {
    pub asks: VecDeque<Ask>,
    pub heir: Arc<Heir>,
}

/// Who carries a send to the store and back takes along what came behind it, if the conversation leaves the memory meanwhile:
/// asked of the new owner before it, that would overtake it. Nothing once the send has come back.
pub struct Heir(Mutex<Option<VecDeque<Ask>>>);

impl Default for Heir {
    fn default() -> Self {
        Self(Mutex::new(Some(VecDeque::new())))
    }
}

impl Heir {
    /// Leaves a line to the one before it; the line comes back when that one has gone on already.
    pub fn leave(&self, line: VecDeque<Ask>) -> Result<(), VecDeque<Ask>> {
        match &mut *self.0.lock() {
            Some(left) => {
                *left = line;
                Ok(())
            }
            None => Err(line),
        }
    }

    /// The send goes on: with it, whatever was left to it.
    pub fn take(&self) -> VecDeque<Ask> {
        self.0.lock().take().unwrap_or_default()
    }
}

/// Something to be said once everything below an offset is stored.
pub struct Announcement {
    pub after: Offset,
    pub what: What,
}

pub enum What {
    Answer(Origin, Outcome),
    Refusal(Origin, UserId, Refusal),
    Joined { users: Vec<UserId>, by: UserId },
    Left { users: Vec<UserId>, by: UserId },
    Changed,
    Deleted { users: Vec<UserId>, by: UserId },
}

/// What the store said about a command.
pub struct Word {
    /// The conversation's head when the store was asked: what was said later it may not have known.
    pub head: u64,
    /// `Ok(None)`: it may go on. `Some` is the outcome of its first sending.
    pub verdict: Result<Option<Outcome>, Problem>,
}

/// What the conversation's own memory has to say to a command that waits for the store.
struct Memory {
    /// The entry a reply names, if it is here.
    replied: Option<Arc<Entry>>,
    /// Ids have left the dedupe window, and some of these are not in the store yet.
    is_truncated: bool,
    unstored: bool,
    /// Nothing of the conversation is known: the send would open it.
    is_new: bool,
}

/// Whether a command may go on as far as the store knows: `Some` is the outcome of its first sending.
async fn clear(core: &Arc<Hub>, ask: &Ask, memory: Memory) -> Result<Option<Outcome>, Problem> {
    let Question::Do { command, repeat } = &ask.question else {
        return Ok(None);
    };
    match command {
        Command::Open { pair } => living(core, pair).await.map(|()| None),
        Command::Send {
            from,
            id,
            content,
            peer,
        } => {
            if *repeat
                && memory.is_truncated
                && let Some((seq, at)) = sent_before(core, ask.conversation, *from, id, memory.unstored).await?
            {
                return Ok(Some(Outcome::Sent {
                    seq,
                    at,
                    duplicate: true,
                }));
            }
            if let Some(peer) = peer
                && memory.is_new
            {
                living(core, &[*peer]).await?;
            }
            if let Some(seq) = content.reply_to {
                replies_to_message(core, ask, seq, memory.replied).await?;
            }
            if !content.attachments.is_empty() {
                core.attachments
                    .share(*from, ask.conversation, &content.attachments)
                    .await?;
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The first sending of a client id that left the dedupe window, if there was one.
async fn sent_before(
    core: &Arc<Hub>,
    conversation: ConversationId,
    from: UserId,
    id: &str,
    unstored: bool,
) -> PortResult<Option<(u64, Timestamp)>> {
    if unstored {
        core.projector.flush_of(conversation).await;
    }
    let sought = Sought {
        conversation,
        from,
        id: id.to_owned(),
    };
    core.repeats.ask(sought).await
}

async fn living(core: &Arc<Hub>, users: &[UserId]) -> Result<(), Problem> {
    if core.accounts.absent(users).await?.is_empty() {
        Ok(())
    } else {
        Err(Problem::not_found("user"))
    }
}

async fn replies_to_message(core: &Arc<Hub>, ask: &Ask, seq: u64, replied: Option<Arc<Entry>>) -> Result<(), Problem> {
    let is_message = match replied.as_deref() {
        Some(Entry::Message(_)) => true,
        Some(Entry::Update(_)) => false,
        None => core.chats.message(ask.conversation, seq).await?.is_some(),
    };
    if is_message {
        Ok(())
    } else {
        Err(Problem::field("reply_to", "names no message of this conversation"))
    }
}

impl Shell {
    /// Asks the store off the conversation's own path, and comes back.
    pub(super) fn ask_store(&mut self, ask: Ask) {
        let heir = Arc::new(Heir::default());
        if let Question::Do {
            command: Command::Send { from, .. },
            ..
        } = &ask.question
        {
            let line = Line {
                asks: VecDeque::new(),
                heir: Arc::clone(&heir),
            };
            self.held.insert(*from, line);
        }
        let (core, head) = (Arc::clone(&self.core), self.state.head);
        let memory = Memory {
            replied: self.replied_entry(&ask),
            is_new: self.state.profile.is_none(),
            is_truncated: self.state.window.is_truncated(),
            unstored: self
                .state
                .window
                .first()
                .is_some_and(|first| first > self.stored_head + 1),
        };
        self.core.runtime.spawn(async move {
            let verdict = clear(&core, &ask, memory).await;
            let word = Word { head, verdict };
            let with = Arc::clone(&heir);
            if !core.go_on(ask, |ask| Msg::Cleared(ask, word, with)) {
                heir.take().into_iter().for_each(|ask| core.bounce(ask, false));
            }
        });
    }

    /// The store has spoken about an ask; what came behind it goes on.
    pub(super) fn cleared(&mut self, ask: Ask, word: Word, heir: &Arc<Heir>) {
        let left = heir.take();
        if self.is_retired() {
            self.pass_on(ask);
            return left.into_iter().for_each(|ask| self.pass_on(ask));
        }
        let Ask {
            origin,
            question: Question::Do { command, .. },
            ..
        } = ask
        else {
            return;
        };
        let author = command.author();
        match word.verdict {
            Ok(None) => self.append(origin, command, word.head),
            Ok(Some(outcome)) => self.done(origin, outcome),
            Err(problem) => self.answer(origin, Err(problem)),
        }
        // Of this conversation's own line, or of one that was in memory before it.
        let own = self.held.get(&author).is_some_and(|line| Arc::ptr_eq(&line.heir, heir));
        let line = own.then(|| self.held.remove(&author)).flatten();
        let mut behind = line.map_or(left, |line| line.asks);
        while let Some(next) = behind.pop_front() {
            self.ask(Box::new(next));
            if let Some(held_again) = self.held.get_mut(&author) {
                return held_again.asks.append(&mut behind);
            }
        }
    }

    fn replied_entry(&self, ask: &Ask) -> Option<Arc<Entry>> {
        let Question::Do {
            command: Command::Send { content, .. },
            ..
        } = &ask.question
        else {
            return None;
        };
        self.tail
            .get(content.reply_to?, self.state.head)
            .map(|kept| Arc::clone(&kept.entry))
    }

    /// The store has everything below that offset.
    pub(super) fn stored(&mut self, applied: Offset, head: u64) {
        self.stored_applied = self.stored_applied.max(applied);
        self.stored_head = self.stored_head.max(head);
        self.tail.trim(self.stored_head, self.state.head);
        self.state.window.stored(self.stored_head);
        let due = |announcement: &Announcement| announcement.after <= self.stored_applied;
        let (due, later) = std::mem::take(&mut self.announcements).into_iter().partition(due);
        self.announcements = later;
        for announcement in due {
            self.announce(announcement.what);
        }
    }

    fn announce(&mut self, what: What) {
        match what {
            What::Answer(origin, outcome) => self.done(origin, outcome),
            What::Refusal(origin, author, refusal) => self.refuse(origin, author, refusal),
            What::Joined { users, by } => self.announce_joined(users, by),
            What::Left { users, by } => {
                self.deliver(Delivery::Left(users.clone()));
                self.notify(NotificationKind::GroupRemoved, users, by);
            }
            What::Changed => self.announce_changed(),
            What::Deleted { users, by } => {
                self.deliver(Delivery::Left(users.clone()));
                self.notify(NotificationKind::GroupRemoved, users, by);
                self.disperse();
            }
        }
    }

    fn announce_joined(&mut self, users: Vec<UserId>, by: UserId) {
        let entering = users
            .iter()
            .filter_map(|user| Some((*user, self.membership(*user)?)))
            .collect();
        self.deliver(Delivery::Enter(entering));
        self.notify(NotificationKind::GroupAdded, users, by);
    }

    fn announce_changed(&mut self) {
        if self.id.is_direct() {
            return;
        }
        let frame = ServerFrame::Notification {
            kind: NotificationKind::GroupChanged,
            conversation: Some(self.id),
            user: None,
        };
        self.deliver(Delivery::Ephemeral(Frames::one(frame), None));
    }

    /// Tells users what was done to them; who did it to oneself knows.
    fn notify(&self, kind: NotificationKind, mut users: Vec<UserId>, by: UserId) {
        users.retain(|user| *user != by);
        if users.is_empty() || self.id.is_direct() {
            return;
        }
        let frame = ServerFrame::Notification {
            kind,
            conversation: Some(self.id),
            user: None,
        };
        self.notify_users(users, &Frames::one(frame));
    }

    fn membership(&self, user: UserId) -> Option<Membership> {
        let member = self.state.members.get(&user)?;
        Some(Membership {
            conversation: self.id,
            head: self.state.head,
            active_at: self.state.active_at,
            joined_seq: member.joined_seq,
            joined_at: member.joined_at,
            read: member.joined_seq,
            delivered: member.joined_seq,
            muted_until: None,
            pinned: false,
        })
    }

    /// When a group was made and last changed; a direct conversation has no such times.
    pub(super) fn group_times(&self) -> (Timestamp, Timestamp) {
        match &self.state.profile {
            Some(Profile::Group {
                created_at, updated_at, ..
            }) => (*created_at, *updated_at),
            _ => (self.state.active_at, self.state.active_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn line() -> VecDeque<Ask> {
        let typing = Ask {
            conversation: ConversationId(Uuid::nil()),
            origin: Origin::Nobody,
            question: Question::Typing {
                user: UserId(Uuid::nil()),
            },
        };
        VecDeque::from([typing])
    }

    #[test]
    fn a_line_goes_with_the_send_before_it_or_after_it() {
        let heir = Heir::default();
        assert_eq!(heir.leave(line()), Ok(()));
        assert_eq!(heir.take(), line());
        assert_eq!(heir.leave(line()), Err(line()), "it has gone on");
    }
}
