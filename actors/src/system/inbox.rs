//! The inbox over HTTP: a user's conversations, newest activity first.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::{InboxRow, System, view};
use crate::conversation::command::Command;
use crate::defaults;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Question, Reply, Summary, UserQuestion};
use crate::ports::chats::{Entry, Membership, Span};
use crate::protocol::view::{Page, Receipt};
use crate::protocol::{ErrorCode, Problem};
use crate::session::link::answered_otherwise;
use crate::time::Timestamp;

/// Where `unread` stops counting.
const UNREAD_MOST: u32 = 999;

impl System {
    /// A page of the inbox, newest activity first. The cursor is `<activity ms>-<conversation>` of the last row.
    pub async fn inbox(&self, user: UserId, cursor: Option<&str>, limit: usize) -> Result<Page<InboxRow>, Problem> {
        let after = cursor.map(parse).transpose()?;
        let mut memberships = self.memberships(user).await?;
        memberships.sort_by_key(place);
        let beyond = |membership: &Membership| after.is_none_or(|after| place(membership) > after);
        let mut rest = memberships
            .into_iter()
            .filter(|membership| beyond(membership))
            .peekable();
        let (mut items, mut last) = (Vec::new(), None);
        while items.len() < limit {
            let some: Vec<_> = rest.by_ref().take(limit - items.len()).collect();
            let Some(membership) = some.last() else { break };
            last = Some(place(membership));
            items.extend(self.rows(user, some).await?);
        }
        let next = rest.peek().and(last).map(|(Reverse(at), id)| format!("{}-{id}", at.0));
        Ok(Page { items, next })
    }

    /// One row of the inbox.
    pub async fn inbox_row(&self, user: UserId, conversation: ConversationId) -> Result<InboxRow, Problem> {
        let memberships = self.memberships(user).await?;
        match memberships
            .into_iter()
            .find(|membership| membership.conversation == conversation)
        {
            Some(membership) => self.row(user, membership).await,
            None => Err(self.0.outsider(conversation, user).await),
        }
    }

    /// The direct conversation with a user, made if there is none.
    pub async fn open_direct(&self, user: UserId, peer: UserId) -> Result<ConversationId, Problem> {
        if user == peer {
            return Err(Problem::field("user", "is oneself"));
        }
        if !self.0.accounts.absent(&[peer]).await?.is_empty() {
            return Err(Problem::not_found("user"));
        }
        let id = ConversationId::direct(user, peer);
        self.command(id, Command::Open { pair: [user, peer] }).await?;
        Ok(id)
    }

    /// This user's own settings of a conversation.
    pub async fn set_preferences(
        &self,
        user: UserId,
        conversation: ConversationId,
        muted_until: Option<Option<Timestamp>>,
        pinned: Option<bool>,
    ) -> Result<(), Problem> {
        match self
            .0
            .chats
            .save_preferences(user, conversation, muted_until, pinned)
            .await?
        {
            true => Ok(()),
            false => Err(self.0.outsider(conversation, user).await),
        }
    }

    /// Moves the read cursor.
    pub async fn read(&self, user: UserId, conversation: ConversationId, seq: u64) -> Result<(), Problem> {
        match self.0.call_user(user, UserQuestion::Read { conversation, seq }).await? {
            Reply::Noted(true) => Ok(()),
            Reply::Noted(false) => Err(self.0.outsider(conversation, user).await),
            _ => Err(answered_otherwise()),
        }
    }

    /// Whether the user is a member of the conversation now.
    pub async fn is_member(&self, user: UserId, conversation: ConversationId) -> Result<bool, Problem> {
        match self.0.summary(user, conversation, u64::MAX - 1).await {
            Ok(_) => Ok(true),
            Err(problem) if matches!(problem.code, ErrorCode::NotFound | ErrorCode::NotMember) => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    /// The stored memberships, with what the memory of their owners knows better.
    async fn memberships(&self, user: UserId) -> Result<Vec<Membership>, Problem> {
        let mut memberships = self
            .0
            .chats
            .inboxes(&[user])
            .await?
            .pop()
            .unwrap_or_default()
            .memberships;
        let active_at = self
            .activity(memberships.iter().map(|it| it.conversation).collect())
            .await;
        for membership in &mut memberships {
            let activity = active_at.get(&membership.conversation).copied();
            membership.active_at = membership.active_at.max(activity.unwrap_or_default());
        }
        let known = self.0.progress(user).await;
        for membership in &mut memberships {
            if let Ok(index) = known.binary_search_by_key(&membership.conversation, |it| it.conversation) {
                membership.read = membership.read.max(known[index].read);
                membership.delivered = membership.delivered.max(known[index].delivered);
                membership.active_at = membership.active_at.max(known[index].active_at);
            }
        }
        Ok(memberships)
    }

    /// When something was last said in these conversations, as far as their owners have them in memory.
    async fn activity(&self, conversations: Vec<ConversationId>) -> HashMap<ConversationId, Timestamp> {
        let (mut active_at, mut elsewhere) = (HashMap::new(), Vec::new());
        for conversation in conversations {
            if let Some(reach) = self.0.conversations.reach(conversation) {
                active_at.insert(conversation, reach.active_at);
            } else if !self.0.shard(conversation.as_bytes()).life.is_open() {
                elsewhere.push(conversation);
            }
        }
        if !elsewhere.is_empty() {
            // An owner that does not answer in time is left out: the store knows nearly as well.
            let asked = tokio::time::timeout(defaults::HEADS_WAIT, self.0.ask_heads(elsewhere)).await;
            let (known, _) = asked.unwrap_or_default();
            active_at.extend(
                known
                    .into_iter()
                    .map(|(conversation, reach)| (conversation, reach.active_at)),
            );
        }
        active_at
    }

    /// Rows in the order of the memberships, but for what the user left meanwhile.
    async fn rows(&self, user: UserId, memberships: Vec<Membership>) -> Result<Vec<InboxRow>, Problem> {
        let asked = stream::iter(memberships).map(|membership| self.row(user, membership));
        let rows: Vec<_> = asked.buffered(defaults::SUMMARIES_AT_ONCE).collect().await;
        let left = |row: &Result<_, Problem>| {
            let gone = |problem: &Problem| matches!(problem.code, ErrorCode::NotFound | ErrorCode::NotMember);
            row.as_ref().is_err_and(gone)
        };
        rows.into_iter().filter(|row| !left(row)).collect()
    }

    async fn row(&self, user: UserId, membership: Membership) -> Result<InboxRow, Problem> {
        let id = membership.conversation;
        let summary = self.0.summary(user, id, membership.read).await?;
        let last_message = match summary.latest.as_deref() {
            Some(Entry::Message(message)) => Some(view(id, message)),
            _ if summary.head == 0 => None,
            _ => self
                .0
                .chats
                .messages(id, Span::Before(u64::MAX), 1)
                .await?
                .0
                .first()
                .map(|stored| view(id, stored)),
        };
        let Summary {
            kind,
            group_name,
            photo,
            peer,
            head,
            unread,
            ..
        } = summary;
        Ok(InboxRow {
            id,
            kind,
            group_name,
            photo,
            peer,
            head,
            read: membership.read,
            delivered: membership.delivered,
            unread,
            muted_until: membership.muted_until,
            pinned: membership.pinned,
            last_message,
        })
    }
}

type Place = (Reverse<Timestamp>, ConversationId);

fn place(membership: &Membership) -> Place {
    (Reverse(membership.active_at), membership.conversation)
}

fn parse(cursor: &str) -> Result<Place, Problem> {
    let parsed = cursor
        .split_once('-')
        .and_then(|(at, id)| Some((Reverse(Timestamp(at.parse().ok()?)), id.parse().ok()?)));
    parsed.ok_or_else(|| Problem::new(ErrorCode::BadRequest, "cursor: not one of this list"))
}

impl Hub {
    /// What a member is told of a conversation, with unread counted in memory and store together.
    pub async fn summary(
        self: &Arc<Self>,
        user: UserId,
        conversation: ConversationId,
        read: u64,
    ) -> Result<Summary, Problem> {
        let Reply::Summary(mut summary) = self.call(conversation, Question::Summary { user, read }).await? else {
            return Err(answered_otherwise());
        };
        if let Some((after, upto)) = summary.unread_stored
            && summary.unread < UNREAD_MOST
        {
            summary.unread += self
                .chats
                .unread(conversation, user, after, upto, UNREAD_MOST - summary.unread)
                .await?;
        }
        summary.unread = summary.unread.min(UNREAD_MOST);
        Ok(summary)
    }

    /// What this node's memory knows of a member's cursors beyond the store.
    pub fn newest_cursors(&self, conversation: ConversationId, receipt: &mut Receipt) {
        let Some(cell) = self.sessions.get(receipt.user) else {
            return;
        };
        if let Some(standing) = cell.state().standing(conversation) {
            receipt.delivered = receipt.delivered.max(standing.delivered);
            receipt.read = receipt.read.max(standing.read);
        }
    }
}
