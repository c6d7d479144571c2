//! The actor of a session: what has to wait. It loads the inbox and replays what connections lack; it is activated when there
//! is such work and stops when it is done: starting it again costs a few microseconds, keeping it some kilobytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ractor::{Actor, ActorProcessingErr, ActorRef, MessagingErr};
use tokio::sync::oneshot;

use super::state::Delivered;
use super::table::Cell;
use crate::defaults;
use crate::hub::Hub;
use crate::id::{ConnectionId, ConversationId};
use crate::protocol::Problem;
use crate::supervisor::Key;

/// What a session's mailbox takes.
pub enum Msg {
    /// Load the inbox, where that was not done.
    Load(oneshot::Sender<Result<(), Problem>>),
    /// Replay what a connection lacks.
    Replay(ConnectionId),
}

/// An active session's mailbox.
#[derive(Clone)]
pub struct SessionRef {
    actor: ActorRef<Msg>,
    waiting: Arc<AtomicU32>,
}

/// A session's actor.
pub struct SessionActor;

/// What a session's actor works on.
pub struct Work {
    pub(super) core: Arc<Hub>,
    pub(super) cell: Arc<Cell>,
    waiting: Arc<AtomicU32>,
}

impl Hub {
    /// Hands a message to a session's actor, activating it where it is not active.
    pub fn tell_session(self: &Arc<Self>, cell: &Arc<Cell>, msg: Msg) {
        let mut slot = cell.actor.lock();
        let mut msg = msg;
        loop {
            let session = slot.get_or_insert_with(|| self.activate_session(cell));
            session.waiting.fetch_add(1, Ordering::AcqRel);
            match session.actor.cast(msg) {
                // The actor died just now; another takes its place.
                Err(MessagingErr::SendErr(back)) => {
                    msg = back;
                    *slot = None;
                }
                _ => return,
            }
        }
    }

    fn activate_session(self: &Arc<Self>, cell: &Arc<Cell>) -> SessionRef {
        let waiting = Arc::new(AtomicU32::new(0));
        let work = Work {
            core: Arc::clone(self),
            cell: Arc::clone(cell),
            waiting: Arc::clone(&waiting),
        };
        let supervisor = &self.shard(cell.user.as_bytes()).supervisor;
        let actor = supervisor.spawn(SessionActor, work, Key::Session(cell.user));
        SessionRef { actor, waiting }
    }

    /// Loads a session's inbox where that was not done yet.
    pub async fn load_session(self: &Arc<Self>, cell: &Arc<Cell>) -> Result<(), Problem> {
        if cell.state().is_loaded() {
            return Ok(());
        }
        let (done, loaded) = oneshot::channel();
        self.tell_session(cell, Msg::Load(done));
        loaded
            .await
            .map_err(|_| Problem::unavailable("the session could not be loaded"))?
    }
}

impl Actor for SessionActor {
    type Msg = Msg;
    type State = Work;
    type Arguments = Work;

    async fn pre_start(&self, _: ActorRef<Msg>, work: Work) -> Result<Work, ActorProcessingErr> {
        Ok(work)
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, work: &mut Work) -> Result<(), ActorProcessingErr> {
        work.waiting.fetch_sub(1, Ordering::AcqRel);
        match msg {
            Msg::Load(done) => drop(done.send(Box::pin(work.load()).await)),
            Msg::Replay(connection) => Box::pin(work.replay(connection)).await,
        }
        if work.leave() {
            myself.stop(None);
        }
        Ok(())
    }
}

impl Work {
    async fn load(&self) -> Result<(), Problem> {
        if self.cell.state().is_loaded() {
            return Ok(());
        }
        let inbox = tokio::time::timeout(defaults::LOAD_DEADLINE, self.core.loader.inbox(self.cell.user)).await;
        match inbox {
            Ok(Ok(inbox)) => {
                self.cell.state().loaded(inbox);
                self.catch_up_with_owners().await;
                Ok(())
            }
            failed => {
                tracing::warn!(user = %self.cell.user, "an inbox could not be loaded");
                self.core.sessions.discard(&self.cell);
                let problem = Problem::unavailable("the inbox could not be loaded");
                Err(failed.map_or(problem.clone(), |loaded| loaded.err().map_or(problem, Problem::from)))
            }
        }
    }

    /// The store's heads may be behind those of active conversations; and these have to know of this session.
    async fn catch_up_with_owners(&self) {
        let conversations: Vec<_> = self
            .cell
            .state()
            .standings
            .iter()
            .map(|standing| standing.conversation)
            .collect();
        let mut elsewhere = Vec::new();
        for conversation in conversations {
            if !self.core.rosters.arrive(conversation, &self.cell) {
                continue;
            }
            if let Some(head) = self.core.conversations.hot_head(conversation) {
                self.raise(conversation, head);
            } else if !self.core.router.is_alone() {
                elsewhere.push(conversation);
            }
        }
        if !elsewhere.is_empty() {
            self.ask_owners(elsewhere).await;
        }
    }

    /// The owners on other nodes are asked; what they do not answer in time is asked again later.
    async fn ask_owners(&self, conversations: Vec<ConversationId>) {
        let asked = self.core.ask_heads(conversations.clone());
        let (known, unknown) = tokio::time::timeout(defaults::HEADS_WAIT, asked)
            .await
            .unwrap_or_else(|_| (Vec::new(), conversations));
        for (conversation, head) in known {
            self.raise(conversation, head);
        }
        self.core.doubt_heads(unknown);
    }

    /// Notes an owner's head. Whoever attached since the inbox was loaded lacks what lies between.
    fn raise(&self, conversation: ConversationId, head: u64) {
        let behind = {
            let mut state = self.cell.state();
            match state.raise(conversation, head) {
                Delivered::NeedsReplay => state.lagging(),
                _ => Vec::new(),
            }
        };
        for connection in behind {
            self.core.tell_session(&self.cell, Msg::Replay(connection));
        }
    }

    /// Whether nothing waits; then the next message activates another actor.
    fn leave(&self) -> bool {
        let mut slot = self.cell.actor.lock();
        let idle = self.waiting.load(Ordering::Acquire) == 0;
        if idle {
            *slot = None;
        }
        idle
    }
}
