//! Groups over HTTP.

use super::{GroupPatch, GroupState, NewGroup, System};
use crate::conversation::command::Command;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Members, Question, Reply};
use crate::ports::chats::Member;
use crate::protocol::Problem;
use crate::protocol::view::Role;
use crate::session::link::answered_otherwise;

/// Members shown with a group.
const FIRST_PAGE: usize = 100;

impl System {
    /// Makes a group; everybody named must exist.
    pub async fn create_group(&self, user: UserId, group: NewGroup) -> Result<GroupState, Problem> {
        let limit = self.0.limits.group_members;
        if group.members.len() >= limit {
            return Err(Problem::too_large("members", limit));
        }
        self.living(&group.members).await?;
        let id = ConversationId::fresh();
        let NewGroup {
            name,
            photo,
            description,
            members,
        } = group;
        self.command(
            id,
            Command::Create {
                by: user,
                name,
                photo,
                description,
                members,
            },
        )
        .await?;
        self.group(user, id).await
    }

    pub async fn group(&self, user: UserId, group: ConversationId) -> Result<GroupState, Problem> {
        let Members {
            name,
            photo,
            description,
            owner,
            created_at,
            updated_at,
            count,
            page,
        } = self.page(user, group, None, FIRST_PAGE).await?;
        Ok(GroupState {
            id: group,
            name,
            photo,
            description,
            owner,
            created_at,
            updated_at,
            member_count: count,
            members: page,
        })
    }

    /// Members beyond a cursor, by user id.
    pub async fn members(
        &self,
        user: UserId,
        group: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Member>, Problem> {
        self.page(user, group, after, limit).await.map(|members| members.page)
    }

    async fn page(
        &self,
        user: UserId,
        group: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Members, Problem> {
        match self.0.call(group, Question::Members { user, after, limit }).await? {
            Reply::Members(members) => Ok(*members),
            _ => Err(answered_otherwise()),
        }
    }

    pub async fn patch_group(
        &self,
        user: UserId,
        group: ConversationId,
        patch: GroupPatch,
    ) -> Result<GroupState, Problem> {
        let GroupPatch {
            name,
            photo,
            description,
        } = patch;
        self.command(
            group,
            Command::Patch {
                by: user,
                name,
                photo,
                description,
            },
        )
        .await?;
        self.group(user, group).await
    }

    pub async fn delete_group(&self, user: UserId, group: ConversationId) -> Result<(), Problem> {
        self.command(group, Command::Delete { by: user }).await.map(drop)
    }

    pub async fn add_members(&self, user: UserId, group: ConversationId, users: Vec<UserId>) -> Result<(), Problem> {
        self.page(user, group, None, 0).await?;
        self.living(&users).await?;
        self.command(group, Command::Add { by: user, users }).await.map(drop)
    }

    /// Removes a member, or leaves when it is the user's own id.
    pub async fn remove_member(&self, user: UserId, group: ConversationId, member: UserId) -> Result<(), Problem> {
        self.command(group, Command::Remove { by: user, user: member })
            .await
            .map(drop)
    }

    pub async fn change_role(
        &self,
        user: UserId,
        group: ConversationId,
        member: UserId,
        role: Role,
    ) -> Result<(), Problem> {
        self.command(
            group,
            Command::SetRole {
                by: user,
                user: member,
                role,
            },
        )
        .await
        .map(drop)
    }

    async fn living(&self, users: &[UserId]) -> Result<(), Problem> {
        if self.0.accounts.absent(users).await?.is_empty() {
            Ok(())
        } else {
            Err(Problem::not_found("user"))
        }
    }
}
