//! Whether a command may be carried out: the ranks of a group, the two of a direct conversation. Asked before a command is
//! appended, and again when it is read back, when the state may be another.

use super::command::Command;
use super::state::{Refusal, State};
use crate::id::UserId;
use crate::ports::chats::{Content, Profile};
use crate::protocol::view::Role;
use crate::protocol::{ErrorCode, Problem};

impl State {
    pub(super) fn is_direct(&self) -> bool {
        self.id.is_direct()
    }

    fn role(&self, user: UserId) -> Result<Role, Refusal> {
        if !self.exists() {
            return Err(not_found());
        }
        self.members
            .get(&user)
            .map(|member| member.role)
            .ok_or(Refusal::Outsider)
    }

    /// The role of a user in a group; a direct conversation is no group.
    fn rank(&self, user: UserId) -> Result<Role, Refusal> {
        if self.is_direct() {
            Err(not_found())
        } else {
            self.role(user)
        }
    }

    fn administers(&self, user: UserId) -> Result<Role, Refusal> {
        match self.rank(user)? {
            Role::Member => Err(forbidden("only the owner and admins may do this")),
            role => Ok(role),
        }
    }

    fn owns(&self, user: UserId) -> Result<(), Refusal> {
        match self.rank(user)? {
            Role::Owner => Ok(()),
            _ => Err(forbidden("only the owner may do this")),
        }
    }

    /// Whether a command may be carried out now.
    pub fn check(&self, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::Send {
                from, content, peer, ..
            } => self.check_send(*from, content, *peer),
            Command::Update { from, of, .. } => self.check_change(*from, *of),
            Command::Create { .. } if self.profile.is_some() => {
                Err(Problem::new(ErrorCode::Conflict, "the group exists").into())
            }
            Command::Create { .. } | Command::Open { .. } | Command::Gone { .. } => Ok(()),
            Command::Add { by, .. } | Command::Patch { by, .. } => self.administers(*by).map(drop),
            Command::Remove { by, user } => self.check_remove(*by, *user),
            Command::SetRole { by, user, role } => self.check_role(*by, *user, *role),
            Command::Delete { by } => self.owns(*by),
        }
    }

    /// Whether a user may change anything of a message that may exist.
    pub(super) fn check_change(&self, from: UserId, of: u64) -> Result<(), Refusal> {
        self.role(from)?;
        if of == 0 || of > self.head {
            return Err(Problem::not_found("message").into());
        }
        Ok(())
    }

    fn check_send(&self, from: UserId, content: &Content, peer: Option<UserId>) -> Result<(), Refusal> {
        if self.profile.is_some() || peer.is_none() {
            self.role(from)?;
        }
        match &self.profile {
            Some(Profile::Direct { gone, .. }) if !gone.is_empty() => return Err(Problem::not_found("user").into()),
            _ => {}
        }
        match content.reply_to {
            Some(seq) if seq == 0 || seq > self.head => {
                Err(Problem::field("reply_to", "names no message of this conversation").into())
            }
            _ => Ok(()),
        }
    }

    fn check_remove(&self, by: UserId, user: UserId) -> Result<(), Refusal> {
        if by == user {
            return self.rank(by).map(drop);
        }
        let rank = self.administers(by)?;
        match self.members.get(&user) {
            None => Err(Problem::not_found("member").into()),
            Some(member) if rank == Role::Owner || member.role == Role::Member => Ok(()),
            Some(_) => Err(forbidden("admins remove members only")),
        }
    }

    fn check_role(&self, by: UserId, user: UserId, role: Role) -> Result<(), Refusal> {
        self.owns(by)?;
        match self.members.get(&user) {
            None => Err(Problem::not_found("member").into()),
            Some(_) if by == user && role != Role::Owner => {
                Err(Problem::new(ErrorCode::Conflict, "an owner first makes another member the owner").into())
            }
            Some(_) => Ok(()),
        }
    }
}

fn not_found() -> Refusal {
    Refusal::Problem(Problem::not_found("conversation"))
}

fn forbidden(detail: &str) -> Refusal {
    Refusal::Problem(Problem::new(ErrorCode::Forbidden, detail))
}
