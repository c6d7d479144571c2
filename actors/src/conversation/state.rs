//! A conversation as a pure state machine over its log: `check` says whether a command may be appended, `apply` what a record
//! that was read back does. Applying depends on the state and the record alone, so that every reader of the log comes to
//! the same state.

mod applied;
mod group;

use std::collections::BTreeMap;

pub use self::applied::{Applied, Event, Outcome};
use self::group::Stamp;
use super::authors::Authors;
use super::changes::{Between, Changes};
use super::command::{Command, Record};
use super::window::{Key, Window};
use crate::id::{ConversationId, UserId};
use crate::ports::chats::{Content, Entry, Member, Profile, RecentChange, Snapshot, Step, StoredMessage, StoredUpdate};
use crate::ports::log::Offset;
use crate::protocol::Problem;
use crate::protocol::view::Role;
use crate::time::Timestamp;

/// A conversation in memory, without its messages.
#[derive(Debug)]
pub struct State {
    pub id: ConversationId,
    /// `None` while nothing was ever said or made here.
    pub profile: Option<Profile>,
    pub deleted: bool,
    pub head: u64,
    /// The offset after the last applied record of this conversation's shard: earlier ones are skipped.
    pub applied: Offset,
    pub active_at: Timestamp,
    pub members: BTreeMap<UserId, Member>,
    pub window: Window,
    pub authors: Authors,
    pub changes: Changes,
}

/// Why a command is not carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The author is no member: whether that is `not_member` or `not_found` depends on the past, which the store knows.
    Outsider,
    Problem(Problem),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl State {
    /// A conversation of which nothing is stored.
    pub fn empty(id: ConversationId) -> Self {
        Self {
            id,
            profile: None,
            deleted: false,
            head: 0,
            applied: 0,
            active_at: Timestamp(0),
            members: BTreeMap::new(),
            window: Window::default(),
            authors: Authors::default(),
            changes: Changes::default(),
        }
    }

    pub fn load(id: ConversationId, snapshot: Snapshot) -> Self {
        Self {
            id,
            window: Window::load(&snapshot.recent),
            authors: Authors::load(&snapshot.recent),
            changes: Changes::load(snapshot.changes),
            deleted: snapshot.deleted,
            head: snapshot.head,
            applied: snapshot.applied,
            active_at: snapshot.active_at,
            members: snapshot
                .members
                .into_iter()
                .map(|member| (member.user, member))
                .collect(),
            profile: Some(snapshot.profile),
        }
    }

    pub fn exists(&self) -> bool {
        self.profile.is_some() && !self.deleted
    }

    pub fn is_member(&self, user: UserId) -> bool {
        !self.deleted && self.members.contains_key(&user)
    }

    pub fn owner(&self) -> Option<UserId> {
        self.members
            .values()
            .find(|member| member.role == Role::Owner)
            .map(|member| member.user)
    }

    /// Carries out the record at an offset.
    pub fn apply(&mut self, offset: Offset, record: Record) -> Applied {
        self.applied = offset + 1;
        if let Err(refusal) = self.check(&record.command) {
            return self.refuse(&record, refusal);
        }
        if self.comes_too_late(&record) {
            return self.refuse(&record, too_late("sent"));
        }
        if self.is_overtaken(&record) {
            return Applied::refused(too_late("changed"));
        }
        // What is under way together may have been written by clocks that differ, or before and after one stepped back.
        let at = record.at.max(self.active_at);
        let stamp = Stamp::of(&record, offset, at);
        match record.command {
            Command::Send {
                from,
                id,
                content,
                peer,
            } => self.send(at, from, id, content, peer),
            Command::Update {
                from,
                of,
                change,
                idempotency,
            } => {
                let seq = self.head + 1;
                let update = StoredUpdate {
                    seq,
                    of,
                    from,
                    at,
                    change,
                    idempotency,
                };
                self.update(update, record.checked)
            }
            Command::Open { pair } => self.open(at, pair),
            Command::Create {
                by,
                name,
                photo,
                description,
                members,
            } => {
                let profile = Profile::Group {
                    name,
                    photo,
                    description,
                    created_at: at,
                    updated_at: at,
                    last_change: stamp.change,
                };
                self.create(at, by, profile, members)
            }
            Command::Add { users, .. } => self.add(stamp, users),
            Command::Remove { user, .. } => self.remove(stamp, user),
            Command::SetRole { by, user, role } => self.set_role(stamp, by, user, role),
            Command::Patch {
                name,
                photo,
                description,
                ..
            } => self.patch(stamp, name, photo, description),
            Command::Delete { .. } => self.delete(),
            Command::Gone { user } => self.gone(stamp, user),
        }
    }

    /// Whether more was said since a send was checked than the window reaches back to: the client may have sent it again to
    /// another owner, while this record waited in a node that was paused or cut off from the log.
    fn comes_too_late(&self, record: &Record) -> bool {
        let is_send = matches!(record.command, Command::Send { .. });
        is_send && record.checked.is_some_and(|head| !self.window.reaches_back_to(head))
    }

    /// A repeat of what was accepted before is answered as the first was, even when it would be refused today.
    fn refuse(&self, record: &Record, refusal: Refusal) -> Applied {
        match &record.command {
            Command::Send { from, id, .. } if self.is_member(*from) => match self.window.get(Key::of(*from, id)) {
                Some(sent) => repeated(sent),
                None => Applied::refused(refusal),
            },
            _ => Applied::refused(refusal),
        }
    }

    fn send(&mut self, at: Timestamp, from: UserId, id: String, mut content: Content, peer: Option<UserId>) -> Applied {
        let key = Key::of(from, &id);
        if let Some(sent) = self.window.get(key) {
            return repeated(sent);
        }
        let mut applied = match (&self.profile, peer) {
            (None, Some(peer)) => self.open(at, [from, peer]),
            _ => Applied::settled(),
        };
        content.mentions.retain(|user| self.members.contains_key(user));
        self.head += 1;
        self.active_at = self.active_at.max(at);
        self.window.insert(key, self.head, at);
        self.authors.push(self.head, from);
        let message = StoredMessage {
            seq: self.head,
            id,
            from,
            at,
            content,
            edited_at: None,
            deleted: false,
            reactions: Vec::new(),
        };
        applied.push(Entry::Message(message));
        applied.outcome = Ok(Outcome::Sent {
            seq: self.head,
            at,
            duplicate: false,
        });
        applied
    }

    /// A change takes its seq, unless another owner changed its message since it was checked.
    fn update(&mut self, update: StoredUpdate, checked: Option<u64>) -> Applied {
        let change = RecentChange::from(&update);
        let seq = match checked.map(|checked| self.changes.since(checked, self.head, change)) {
            Some(Between::Another) => return Applied::refused(too_late("changed")),
            Some(Between::Itself(seq)) => return Applied::done(Outcome::Updated { seq }),
            Some(Between::Nothing) | None => update.seq,
        };
        self.head = seq;
        self.active_at = self.active_at.max(update.at);
        self.changes.push(change);
        let mut applied = Applied::done(Outcome::Updated { seq });
        applied.push(Entry::Update(update));
        applied
    }

    fn open(&mut self, at: Timestamp, pair: [UserId; 2]) -> Applied {
        if self.profile.is_some() {
            return Applied::settled();
        }
        let profile = Profile::Direct { pair, gone: Vec::new() };
        self.profile = Some(profile.clone());
        self.active_at = at;
        let mut applied = self.join(at, Role::Member, pair.to_vec());
        applied.steps.insert(0, Step::Profile(profile));
        applied
    }
}

/// The answer to what was sent before.
fn repeated((seq, at): (u64, Timestamp)) -> Applied {
    Applied::done(Outcome::Sent {
        seq,
        at,
        duplicate: true,
    })
}

fn too_late(done: &str) -> Refusal {
    Problem::unavailable(format!("it came to the log too late; nothing was {done}")).into()
}

#[cfg(test)]
mod tests;
