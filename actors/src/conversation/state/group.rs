//! What changes of a group's members and profile do, and which come too late.
//!
//! An owner appends them without waiting for one another: between the check of one and its record may stand others of the same
//! process, and each is checked again by the state it then meets. One of another process is another owner's: the node that
//! wrote this one was paused, or cut off, and somebody may have been removed since whom it would bring back.

use super::State;
use super::applied::{Applied, Event, Outcome};
use crate::conversation::command::{Command, Record, Writer};
use crate::id::{FileId, UserId};
use crate::ports::chats::{LastChange, Member, Profile, Step};
use crate::ports::log::Offset;
use crate::protocol::view::Role;
use crate::time::Timestamp;

/// When a change is made, and by whom it was written.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub at: Timestamp,
    pub change: Option<LastChange>,
}

impl Stamp {
    pub fn of(record: &Record, offset: Offset, at: Timestamp) -> Self {
        let process = record.writer.map(|writer| writer.process);
        Self {
            at,
            change: process.map(|process| LastChange { process, offset }),
        }
    }
}

impl State {
    /// Whether another process changed the group since this change was checked. An account that is gone stays gone.
    pub(super) fn is_overtaken(&self, record: &Record) -> bool {
        let Some(Profile::Group {
            last_change: Some(last),
            ..
        }) = &self.profile
        else {
            return false;
        };
        let by_another = |writer: Writer| writer.process != last.process && writer.seen <= last.offset;
        !matches!(record.command, Command::Gone { .. }) && record.writer.is_some_and(by_another)
    }

    pub(super) fn create(&mut self, at: Timestamp, by: UserId, profile: Profile, members: Vec<UserId>) -> Applied {
        self.profile = Some(profile.clone());
        self.active_at = at;
        let mut applied = self.join(at, Role::Owner, vec![by]);
        applied.merge(self.join(at, Role::Member, members));
        applied.steps.insert(0, Step::Profile(profile));
        applied
    }

    pub(super) fn join(&mut self, at: Timestamp, role: Role, users: Vec<UserId>) -> Applied {
        let mut joined = Vec::new();
        for user in users {
            if self.members.contains_key(&user) {
                continue;
            }
            let admin_since = (role > Role::Member).then_some(at);
            let member = Member {
                user,
                role,
                joined_at: at,
                joined_seq: self.head,
                admin_since,
            };
            self.members.insert(user, member.clone());
            joined.push(member);
        }
        let mut applied = Applied::settled();
        if !joined.is_empty() {
            applied
                .events
                .push(Event::Joined(joined.iter().map(|member| member.user).collect()));
            applied.steps.push(Step::Joined(joined));
        }
        applied
    }

    pub(super) fn add(&mut self, stamp: Stamp, users: Vec<UserId>) -> Applied {
        let mut applied = self.join(stamp.at, Role::Member, users);
        if !applied.steps.is_empty() {
            applied.merge(self.touch(stamp));
        }
        applied
    }

    pub(super) fn remove(&mut self, stamp: Stamp, user: UserId) -> Applied {
        let Some(member) = self.members.remove(&user) else {
            return Applied::settled();
        };
        if self.members.is_empty() {
            self.members.insert(user, member);
            return self.delete();
        }
        let mut applied = Applied::settled();
        applied.steps.push(Step::Left(vec![user]));
        applied.events.push(Event::Left(vec![user]));
        if member.role == Role::Owner
            && let Some(heir) = self.heir()
        {
            applied.merge(self.promote(stamp.at, heir, Role::Owner));
        }
        applied.merge(self.touch(stamp));
        applied
    }

    /// Who inherits a group: the admin who is one longest, else the member who is one longest.
    fn heir(&self) -> Option<UserId> {
        let seniority = |member: &&Member| {
            (
                member.admin_since.is_none(),
                member.admin_since,
                member.joined_at,
                member.user,
            )
        };
        self.members.values().min_by_key(seniority).map(|member| member.user)
    }

    fn promote(&mut self, at: Timestamp, user: UserId, role: Role) -> Applied {
        let Some(member) = self.members.get_mut(&user) else {
            return Applied::settled();
        };
        if member.role == role {
            return Applied::settled();
        }
        member.role = role;
        member.admin_since = (role > Role::Member).then(|| member.admin_since.unwrap_or(at));
        let step = Step::Joined(vec![member.clone()]);
        Applied {
            outcome: Ok(Outcome::Settled),
            steps: vec![step],
            events: vec![Event::Changed],
        }
    }

    pub(super) fn set_role(&mut self, stamp: Stamp, by: UserId, user: UserId, role: Role) -> Applied {
        let mut applied = self.promote(stamp.at, user, role);
        if role == Role::Owner && by != user {
            applied.merge(self.promote(stamp.at, by, Role::Admin));
        }
        if !applied.steps.is_empty() {
            applied.merge(self.touch(stamp));
        }
        applied
    }

    pub(super) fn patch(
        &mut self,
        stamp: Stamp,
        name: Option<String>,
        photo: Option<Option<FileId>>,
        description: Option<Option<String>>,
    ) -> Applied {
        let Some(Profile::Group {
            name: old_name,
            photo: old_photo,
            description: old_description,
            ..
        }) = &mut self.profile
        else {
            return Applied::settled();
        };
        if let Some(name) = name {
            *old_name = name;
        }
        if let Some(photo) = photo {
            *old_photo = photo;
        }
        if let Some(description) = description {
            *old_description = description;
        }
        let mut applied = self.touch(stamp);
        applied.events.push(Event::Changed);
        applied
    }

    /// Stores the profile with when and by whom the group was changed.
    fn touch(&mut self, stamp: Stamp) -> Applied {
        let Some(profile) = &mut self.profile else {
            return Applied::settled();
        };
        if let Profile::Group {
            updated_at,
            last_change,
            ..
        } = profile
        {
            (*updated_at, *last_change) = (stamp.at, stamp.change);
        }
        Applied {
            steps: vec![Step::Profile(profile.clone())],
            ..Applied::settled()
        }
    }

    pub(super) fn delete(&mut self) -> Applied {
        self.deleted = true;
        let members = std::mem::take(&mut self.members).into_keys().collect();
        Applied {
            outcome: Ok(Outcome::Settled),
            steps: vec![Step::Deleted],
            events: vec![Event::Deleted(members)],
        }
    }

    pub(super) fn gone(&mut self, stamp: Stamp, user: UserId) -> Applied {
        if !self.is_direct() {
            return self.remove(stamp, user);
        }
        let mut applied = Applied::settled();
        if let Some(Profile::Direct { pair, gone }) = &mut self.profile
            && pair.contains(&user)
            && !gone.contains(&user)
        {
            gone.push(user);
            self.members.remove(&user);
            applied.steps = vec![Step::Left(vec![user])];
            applied.events = vec![Event::Left(vec![user])];
            applied.merge(self.touch(stamp));
        }
        applied
    }
}
