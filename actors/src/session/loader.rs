//! Loads the inbox of a session, and brings it up to what the owners of its conversations know.

use std::sync::Arc;

use super::actor::Msg;
use super::state::Delivered;
use super::table::Cell;
use crate::defaults;
use crate::heads::Reach;
use crate::hub::Hub;
use crate::id::ConversationId;
use crate::protocol::Problem;

impl Hub {
    /// Loads a session's inbox where that was not done yet. Of several at once the first to come back counts.
    pub async fn load_session(self: &Arc<Self>, cell: &Arc<Cell>) -> Result<(), Problem> {
        if cell.state().is_loaded() {
            return Ok(());
        }
        let inbox = tokio::time::timeout(defaults::LOAD_DEADLINE, self.inboxes.ask(cell.user)).await;
        match inbox {
            Ok(Ok(inbox)) => {
                let first = cell.state().loaded(inbox);
                if first {
                    self.catch_up_with_owners(cell).await;
                }
                Ok(())
            }
            failed => {
                tracing::warn!(user = %cell.user, "an inbox could not be loaded");
                self.sessions.discard(cell);
                let problem = Problem::unavailable("the inbox could not be loaded");
                Err(failed.map_or(problem.clone(), |loaded| loaded.err().map_or(problem, Problem::from)))
            }
        }
    }

    /// The store's heads may be behind those of active conversations; and these have to know of this session.
    async fn catch_up_with_owners(self: &Arc<Self>, cell: &Arc<Cell>) {
        let conversations: Vec<_> = cell
            .state()
            .standings
            .iter()
            .map(|standing| standing.conversation)
            .collect();
        let mut elsewhere = Vec::new();
        for conversation in conversations {
            if !self.rosters.arrive(conversation, cell) {
                continue;
            }
            if let Some(reach) = self.conversations.reach(conversation) {
                self.lift(cell, conversation, reach);
            } else if !self.router.is_alone() {
                elsewhere.push(conversation);
            }
        }
        if !elsewhere.is_empty() {
            self.ask_owners(cell, elsewhere).await;
        }
    }

    /// The owners on other nodes are asked; what they do not answer in time is asked again later.
    async fn ask_owners(self: &Arc<Self>, cell: &Arc<Cell>, conversations: Vec<ConversationId>) {
        let asked = self.ask_heads(conversations.clone());
        let (known, unknown) = tokio::time::timeout(defaults::HEADS_WAIT, asked)
            .await
            .unwrap_or_else(|_| (Vec::new(), conversations));
        for (conversation, reach) in known {
            self.lift(cell, conversation, reach);
        }
        self.doubt_heads(unknown);
    }

    /// Notes an owner's head. Whoever attached since the inbox was loaded lacks what lies between.
    fn lift(self: &Arc<Self>, cell: &Arc<Cell>, conversation: ConversationId, reach: Reach) {
        let behind = {
            let mut state = cell.state();
            state.active(conversation, reach.active_at);
            match state.raise(conversation, reach.head) {
                Delivered::NeedsReplay => state.lagging(),
                _ => Vec::new(),
            }
        };
        for connection in behind {
            self.tell_session(cell, Msg::Replay(connection));
        }
    }
}
