//! The actor around a conversation: one `match` whose arms are one call each.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rookery_cluster::id::NodeId;
use tokio::sync::oneshot;

use super::command::Record;
use super::fill::Read;
use super::hold::{Heir, Word};
use super::shell::Shell;
use super::table::Hot;
use crate::hub::Hub;
use crate::id::ConversationId;
use crate::interchange::{Ask, Origin};
use crate::ports::chats::{Entry, StoredMessage};
use crate::ports::log::Offset;
use crate::ports::{PortError, PortResult};
use crate::supervisor::Key;

/// What a conversation's mailbox takes.
pub enum Msg {
    Ask(Box<Ask>),
    /// The store was asked whether an ask may go on: it may, or this is its answer.
    Cleared(Box<Ask>, Word, Arc<Heir>),
    /// The message a change names, from the store; `None` when there is none.
    Judged(Box<Ask>, u64, PortResult<Option<Box<StoredMessage>>>),
    /// Stored entries that replays wait for.
    Filled(Read, PortResult<Vec<Entry>>),
    /// Records of this conversation, in log order.
    Apply(Vec<Readback>),
    /// An append that failed.
    Failed(Box<Record>, Origin, PortError),
    /// The store has everything below this offset, up to this head.
    Stored {
        applied: Offset,
        head: u64,
    },
    /// Leave the memory, if nothing speaks against it.
    Passivate,
    /// A node does not know the roster.
    Roster(NodeId),
    /// Say when everything before this is done.
    Settle(oneshot::Sender<()>),
    /// Leave the memory: another node owns this conversation.
    Retire(oneshot::Sender<()>),
    /// Stop: nothing finds the way here any more.
    Gone,
}

/// A record read back from the log.
pub struct Readback {
    pub offset: Offset,
    pub record: Body,
    pub origin: Origin,
}

/// A record as it is at hand.
pub enum Body {
    /// This node's own, still in memory.
    Own(Box<Record>),
    /// Another's, or one from before a restart.
    Foreign(Bytes),
}

/// A conversation's actor; its state is the `Shell`.
pub struct ConversationActor;

/// What a conversation's actor is started with.
pub struct Seed {
    pub core: Arc<Hub>,
    pub conversation: ConversationId,
    pub hot: Arc<Hot>,
}

/// Starts a conversation's actor under its shard's supervisor. It loads itself before it handles its first message.
pub fn activate(core: &Arc<Hub>, conversation: ConversationId, hot: Arc<Hot>) -> ActorRef<Msg> {
    let seed = Seed {
        core: Arc::clone(core),
        conversation,
        hot,
    };
    core.shard(conversation.as_bytes())
        .supervisor
        .spawn(ConversationActor, seed, Key::Conversation(conversation))
}

impl Actor for ConversationActor {
    type Msg = Msg;
    type State = Shell;
    type Arguments = Seed;

    async fn pre_start(&self, _: ActorRef<Msg>, seed: Seed) -> Result<Shell, ActorProcessingErr> {
        Ok(Shell::new(seed))
    }

    async fn post_start(&self, _: ActorRef<Msg>, shell: &mut Shell) -> Result<(), ActorProcessingErr> {
        Box::pin(shell.load()).await;
        Ok(())
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, shell: &mut Shell) -> Result<(), ActorProcessingErr> {
        shell.hot.waiting.fetch_sub(1, Ordering::AcqRel);
        if !shell.is_loaded() {
            Box::pin(shell.load()).await;
        }
        match msg {
            Msg::Ask(ask) if shell.is_retired() => shell.pass_on(*ask),
            Msg::Ask(ask) => shell.ask(ask),
            Msg::Cleared(ask, word, heir) => shell.cleared(*ask, word, &heir),
            Msg::Judged(ask, head, message) => shell.judged(*ask, head, message),
            Msg::Filled(read, entries) => shell.filled(read, entries),
            Msg::Apply(records) => shell.apply(records),
            Msg::Failed(record, origin, error) => shell.failed(&record, origin, error),
            Msg::Stored { applied, head } => shell.stored(applied, head),
            Msg::Passivate => {
                if shell.passivate() {
                    myself.stop(None);
                }
            }
            Msg::Roster(node) => shell.introduce(node),
            Msg::Settle(done) => drop(done.send(())),
            Msg::Retire(done) => {
                shell.retire();
                done.send(()).ok();
                // What was handed over just before is passed on before it stops.
                myself.cast(Msg::Gone).ok();
            }
            Msg::Gone => myself.stop(None),
        }
        Ok(())
    }
}
