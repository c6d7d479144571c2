//! The actor of a session: what has to wait. It replays what connections lack; it is activated when there is such work and
//! stops when it is done: starting it again costs a few microseconds, keeping it some kilobytes. The inbox is loaded by
//! whoever attaches first, together with those of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ractor::{Actor, ActorProcessingErr, ActorRef, MessagingErr};

use super::table::Cell;
use crate::hub::Hub;
use crate::id::ConnectionId;
use crate::supervisor::Key;

/// What a session's mailbox takes.
pub enum Msg {
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
            let is_new = slot.is_none();
            let session = slot.get_or_insert_with(|| self.activate_session(cell));
            session.waiting.fetch_add(1, Ordering::AcqRel);
            let Err(MessagingErr::SendErr(back)) = session.actor.cast(msg) else {
                return;
            };
            *slot = None;
            // Where the runtime ends a new one is dead, too, and so would be all that follow.
            if is_new {
                return;
            }
            // The actor died just now; another takes its place.
            msg = back;
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
            Msg::Replay(connection) => Box::pin(work.replay(connection)).await,
        }
        if work.leave() {
            myself.stop(None);
        }
        Ok(())
    }
}

impl Work {
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
