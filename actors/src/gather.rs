//! Gathers what many want of the store at once into few reads: a storm of sockets must not become a storm of queries.

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::defaults;
use crate::hub::Hub;
use crate::id::UserId;
use crate::ports::chats::{ChatStore, Inbox, Sought};
use crate::ports::{PortError, PortResult};
use crate::time::Timestamp;

/// Questions that may wait at once; beyond it whoever has one waits for room.
const WAITING: usize = 8_192;

/// A kind of question, of which the store answers many with one read.
pub trait Kind: 'static {
    type Question: Send + Sync + 'static;
    type Answer: Send + 'static;

    /// Reads begin so far apart while many are wanted.
    const PACE: Duration;

    /// The answers, in the order of the questions.
    fn read(
        chats: &dyn ChatStore,
        questions: &[Self::Question],
    ) -> impl Future<Output = PortResult<Vec<Self::Answer>>> + Send;
}

/// The inboxes of users.
pub struct Inboxes;

impl Kind for Inboxes {
    type Question = UserId;
    type Answer = Inbox;

    const PACE: Duration = defaults::INBOX_PACE;

    async fn read(chats: &dyn ChatStore, users: &[UserId]) -> PortResult<Vec<Inbox>> {
        chats.inboxes(users).await
    }
}

/// Messages that may have been sent before.
pub struct Repeats;

impl Kind for Repeats {
    type Question = Sought;
    type Answer = Option<(u64, Timestamp)>;

    const PACE: Duration = defaults::REPEAT_PACE;

    async fn read(chats: &dyn ChatStore, sought: &[Sought]) -> PortResult<Vec<Self::Answer>> {
        chats.find(sought).await
    }
}

type Waiting<K> = (<K as Kind>::Question, oneshot::Sender<PortResult<<K as Kind>::Answer>>);

/// Where questions of a kind wait for their read.
pub struct Queue<K: Kind>(mpsc::Receiver<Waiting<K>>);

/// Where questions of a kind are asked.
pub struct Gather<K: Kind> {
    waiting: mpsc::Sender<Waiting<K>>,
}

impl<K: Kind> Gather<K> {
    pub fn new() -> (Self, Queue<K>) {
        let (waiting, queue) = mpsc::channel(WAITING);
        (Self { waiting }, Queue(queue))
    }

    /// The answer, read together with whatever else is wanted now.
    pub async fn ask(&self, question: K::Question) -> PortResult<K::Answer> {
        let stopped = || PortError::Unavailable("the node is stopping".into());
        let (answer, answered) = oneshot::channel();
        self.waiting.send((question, answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

/// Reads what is wanted, until the core is gone. Reads that follow each other closely are held apart, because one of ten
/// questions costs little more than one of one; a lone question waits for nothing.
pub async fn run<K: Kind>(core: Weak<Hub>, Queue(mut queue): Queue<K>) {
    let mut waiting = Vec::new();
    let mut next = Instant::now();
    while queue.recv_many(&mut waiting, defaults::ASKED_A_READ).await > 0 {
        if Instant::now() < next {
            tokio::time::sleep_until(next).await;
            let room = defaults::ASKED_A_READ - waiting.len();
            waiting.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(room));
        }
        next = Instant::now() + K::PACE;
        let Some(core) = core.upgrade() else { return };
        let (questions, askers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        match K::read(core.chats.as_ref(), &questions).await {
            Ok(answers) => {
                for (asker, answer) in askers.into_iter().zip(answers) {
                    asker.send(Ok(answer)).ok();
                }
            }
            Err(error) => {
                for asker in askers {
                    asker.send(Err(error.clone())).ok();
                }
            }
        }
    }
}
