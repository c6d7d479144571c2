//! What the owner of a user's session is asked, by this node's routes or another's.

use std::sync::Arc;

use super::table::Cell;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Ask, Progress, Question, Reply, UserQuestion};
use crate::protocol::{CloseCode, Problem};
use crate::time::Timestamp;

impl Hub {
    /// Asks the owner of a user's session and waits for the answer.
    pub async fn call_user(self: &Arc<Self>, user: UserId, question: UserQuestion) -> Result<Reply, Problem> {
        self.call(ConversationId(user.0), Question::User(question)).await
    }

    /// Tells the owner of a user's session, wherever that is by then.
    pub fn tell_owner(self: &Arc<Self>, user: UserId, question: UserQuestion) {
        if self.shard(user.as_bytes()).life.is_open() {
            self.do_for_user(user, &question);
            return;
        }
        let core = Arc::clone(self);
        self.runtime.spawn(async move {
            if let Err(problem) = core.call_user(user, question).await {
                tracing::warn!(%user, %problem, "the owner of a session was not told");
            }
        });
    }

    /// Answers what is asked of a session that this node owns.
    pub(crate) fn asked_of_user(self: &Arc<Self>, ask: Ask) {
        let user = UserId(ask.conversation.0);
        let Question::User(question) = ask.question else { return };
        if let UserQuestion::Read { conversation, seq } = question {
            let core = Arc::clone(self);
            self.runtime.spawn(async move {
                let reply = core.read_cursor(user, conversation, seq).await;
                core.answer(ask.origin, reply.map(Reply::Noted));
            });
            return;
        }
        let reply = self.do_for_user(user, &question);
        self.answer(ask.origin, Ok(reply));
    }

    fn do_for_user(self: &Arc<Self>, user: UserId, question: &UserQuestion) -> Reply {
        let cell = self.sessions.get(user);
        match question {
            UserQuestion::Standings => Reply::Standings(cell.map(|cell| progress(&cell)).unwrap_or_default()),
            UserQuestion::Watch { node, on } => {
                self.presence.interest(user, node, *on);
                Reply::Online(self.is_online(user))
            }
            UserQuestion::CloseLogins { only, except, code } => {
                self.take_off(cell, |cell| {
                    let doomed = |login| only.is_none_or(|only| only == login) && *except != Some(login);
                    cell.state().close_where(*code, |attached| doomed(attached.login));
                });
                Reply::Noted(true)
            }
            UserQuestion::ForgetDevice { device, code } => {
                self.take_off(cell, |cell| cell.state().remove_device(*device, *code));
                Reply::Noted(true)
            }
            UserQuestion::RebindDevice { device, login } => {
                self.take_off(cell, |cell| {
                    let mut state = cell.state();
                    state.close_where(CloseCode::Replaced, |attached| attached.device == *device);
                    if let Some(known) = state.devices.iter_mut().find(|known| known.id == *device) {
                        known.login = *login;
                    }
                });
                Reply::Noted(true)
            }
            UserQuestion::Read { .. } => Reply::Noted(false),
        }
    }

    fn take_off(self: &Arc<Self>, cell: Option<Arc<Cell>>, act: impl FnOnce(&Arc<Cell>)) {
        if let Some(cell) = cell {
            act(&cell);
            self.left_by_force(&cell);
        }
    }

    /// Moves the read cursor of a user whose session is this node's; false when the user is no member.
    async fn read_cursor(
        self: &Arc<Self>,
        user: UserId,
        conversation: ConversationId,
        seq: u64,
    ) -> Result<bool, Problem> {
        let cell = self.sessions.get_or_make(user);
        self.load_session(&cell).await?;
        let mut known = cell.state().read(conversation, seq);
        if !known && self.learn(&cell, conversation).await.unwrap_or_default() {
            known = cell.state().read(conversation, seq);
        }
        if known {
            self.cursors.mark(&cell);
        }
        if cell.state().attached.is_empty() {
            self.sessions.vacated(Arc::clone(&cell), Timestamp::now());
        }
        Ok(known)
    }

    /// How far a user has got, as the session knows it beyond the store; nothing when the owner cannot be asked.
    pub async fn progress(self: &Arc<Self>, user: UserId) -> Vec<Progress> {
        if self.shard(user.as_bytes()).life.is_open() {
            return self.sessions.get(user).map(|cell| progress(&cell)).unwrap_or_default();
        }
        match self.call_user(user, UserQuestion::Standings).await {
            Ok(Reply::Standings(standings)) => standings,
            _ => Vec::new(),
        }
    }
}

fn progress(cell: &Cell) -> Vec<Progress> {
    let state = cell.state();
    let of = state.standings.iter().map(|standing| Progress {
        conversation: standing.conversation,
        active_at: standing.active_at,
        read: standing.read,
        delivered: standing.delivered,
    });
    of.collect()
}
