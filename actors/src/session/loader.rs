//! Loads inboxes, many users with one read: a reconnect storm must not become a database storm.

use std::sync::{Arc, Weak};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::actor::Msg;
use super::state::Delivered;
use super::table::Cell;
use crate::defaults;
use crate::heads::Reach;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::ports::chats::Inbox;
use crate::ports::{PortError, PortResult};
use crate::protocol::Problem;

type Wanted = (UserId, oneshot::Sender<PortResult<Inbox>>);

/// Inboxes that may be wanted at once; beyond it whoever wants one waits for room.
const WANTED: usize = 8_192;

/// Where inboxes are asked for.
pub struct Loader {
    wanted: mpsc::Sender<Wanted>,
}

impl Loader {
    pub fn new() -> (Self, mpsc::Receiver<Wanted>) {
        let (wanted, queue) = mpsc::channel(WANTED);
        (Self { wanted }, queue)
    }

    /// The inbox of a user, read together with whatever others are wanted now.
    pub async fn inbox(&self, user: UserId) -> PortResult<Inbox> {
        let stopped = || PortError::Unavailable("the node is stopping".into());
        let (answer, answered) = oneshot::channel();
        self.wanted.send((user, answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

/// Reads what is wanted, until the core is gone. Reads that follow each other closely are held apart, because one read of ten
/// inboxes costs little more than one of one; a lone user waits for nothing.
pub async fn run(core: Weak<Hub>, mut queue: mpsc::Receiver<Wanted>) {
    let mut wanted = Vec::new();
    let mut next = Instant::now();
    while queue.recv_many(&mut wanted, defaults::INBOXES_A_READ).await > 0 {
        if Instant::now() < next {
            tokio::time::sleep_until(next).await;
            let room = defaults::INBOXES_A_READ - wanted.len();
            wanted.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(room));
        }
        next = Instant::now() + defaults::INBOX_PACE;
        let Some(core) = core.upgrade() else { return };
        let users: Vec<_> = wanted.iter().map(|(user, _)| *user).collect();
        match core.chats.inboxes(&users).await {
            Ok(inboxes) => {
                for ((_, answer), inbox) in wanted.drain(..).zip(inboxes) {
                    answer.send(Ok(inbox)).ok();
                }
            }
            Err(error) => {
                for (_, answer) in wanted.drain(..) {
                    answer.send(Err(error.clone())).ok();
                }
            }
        }
    }
}

impl Hub {
    /// Loads a session's inbox where that was not done yet. Of several at once the first to come back counts.
    pub async fn load_session(self: &Arc<Self>, cell: &Arc<Cell>) -> Result<(), Problem> {
        if cell.state().is_loaded() {
            return Ok(());
        }
        let inbox = tokio::time::timeout(defaults::LOAD_DEADLINE, self.loader.inbox(cell.user)).await;
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
