//! A supervisor for each shard: every session and conversation of the shard that is active is its child.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent};
use tokio::runtime::Handle;

use crate::hub::Hub;
use crate::id::{ConversationId, UserId};

/// What a child is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    Conversation(ConversationId),
    Session(UserId),
}

/// A handle on a shard's supervisor.
pub struct Supervisor {
    cell: ActorCell,
    children: Children,
    runtime: Handle,
}

type Children = Arc<Mutex<HashMap<ActorId, Key>>>;

/// Starts no child by itself: activation is on first use, wherever that is.
struct SupervisorActor {
    children: Children,
    core: Arc<OnceLock<Weak<Hub>>>,
}

impl Supervisor {
    pub async fn start(core: Arc<OnceLock<Weak<Hub>>>) -> Result<Self, ractor::SpawnErr> {
        let children = Children::default();
        let actor = SupervisorActor {
            children: Arc::clone(&children),
            core,
        };
        let (supervisor, _) = ActorRuntime::spawn(None, actor, ()).await?;
        Ok(Self {
            cell: supervisor.get_cell(),
            children,
            runtime: Handle::current(),
        })
    }

    /// Starts a child. Its messages wait until it has started.
    pub fn spawn<A: Actor>(&self, actor: A, seed: A::Arguments, key: Key) -> ActorRef<A::Msg> {
        let _runtime = self.runtime.enter();
        let (child, _) = ActorRuntime::spawn_linked_instant(None, actor, seed, self.cell.clone())
            .expect("an actor without a name always starts");
        self.children.lock().insert(child.get_id(), key);
        metrics::gauge!("actors_active", "kind" => key.kind()).increment(1.0);
        child
    }

    /// Stops the supervisor; its children are stopped before.
    pub fn stop(&self) {
        self.cell.stop(None);
    }
}

impl Key {
    fn kind(self) -> &'static str {
        match self {
            Self::Conversation(_) => "conversation",
            Self::Session(_) => "session",
        }
    }
}

impl SupervisorActor {
    fn ended(&self, child: &ActorCell) -> Option<Key> {
        let key = self.children.lock().remove(&child.get_id())?;
        metrics::gauge!("actors_active", "kind" => key.kind()).decrement(1.0);
        Some(key)
    }

    /// A child that panicked is forgotten; what it owed is done again by the one that takes its place.
    fn failed(&self, child: &ActorCell, error: &ActorProcessingErr) {
        let Some(key) = self.ended(child) else { return };
        tracing::error!(?key, %error, "an actor failed and is restarted");
        metrics::counter!("actors_failed_total", "kind" => key.kind()).increment(1);
        if let Some(core) = self.core.get().and_then(Weak::upgrade) {
            core.restart(key, child.get_id());
        }
    }
}

impl Actor for SupervisorActor {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(child, ..) => drop(self.ended(&child)),
            SupervisionEvent::ActorFailed(child, error) => self.failed(&child, &error),
            _ => {}
        }
        Ok(())
    }
}
