//! Projections on their way to the store: gathered for a moment, stored together, then committed to the log.
//!
//! What is in the log must reach the store, however long that is away. Where the store refuses what one conversation has, only
//! that one waits (`waiting.rs`): its records stay in the log, beyond the committed position, and it takes no more sends.

mod waiting;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use self::waiting::{Flush, Pending, Taken, Waiting};
use crate::conversation::actor::Msg;
use crate::defaults;
use crate::hub::Hub;
use crate::id::ConversationId;
use crate::ports::chats::Projection;
use crate::ports::log::Offset;
use crate::ports::{PortError, PortResult};

/// How often what the store refused is tried again.
const REFUSED_AGAIN: Duration = Duration::from_secs(5);

/// Gathers projections. What waits is bounded by [`has_room_for`](Self::has_room_for), which senders ask first.
pub struct Projector {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// Bytes that may wait.
    most: usize,
    held: Gauge,
    refused: Gauge,
}

impl Projector {
    /// One that is full beyond so many bytes.
    pub fn new(most: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            most,
            held: gauge!("actors_unstored_bytes"),
            refused: gauge!("actors_projections_refused"),
        }
    }

    /// Takes what one conversation has to make durable. `urgent` does not wait for others.
    pub fn push(&self, projection: Projection, offsets: &[Offset], urgent: bool) {
        let mut waiting = self.waiting.lock();
        waiting.push(Pending::new(projection, offsets));
        let hurry = urgent || waiting.pending() >= defaults::BYTES_A_COMMIT;
        self.held.set(waiting.held() as f64);
        drop(waiting);
        if hurry {
            self.wake.notify_one();
        }
    }

    /// Whether a conversation may go on sending: not while too much waits for the store, or the store refuses what it has.
    pub fn has_room_for(&self, conversation: ConversationId) -> bool {
        let waiting = self.waiting.lock();
        waiting.held() <= self.most && !waiting.refuses(conversation)
    }

    /// Returns when everything pushed so far is stored and committed, but for what the store refuses.
    pub async fn flush(&self) {
        self.flushed(None).await;
    }

    /// Returns when everything that a conversation has pushed so far is stored and committed.
    pub async fn flush_of(&self, conversation: ConversationId) {
        self.flushed(Some(conversation)).await;
    }

    async fn flushed(&self, of: Option<ConversationId>) {
        let (done, stored) = oneshot::channel();
        self.waiting.lock().flush(Flush { of, done });
        self.wake.notify_one();
        stored.await.ok();
    }
}

/// Stores what was gathered, until the core is gone.
pub async fn run(core: Weak<Hub>) {
    let mut tried = Instant::now();
    loop {
        let Some(strong) = core.upgrade() else { return };
        let again = tried.elapsed() >= REFUSED_AGAIN;
        if again {
            tried = Instant::now();
        }
        strong.projector.store(&strong, again).await;
        let wait = tokio::time::timeout(defaults::PROJECT_INTERVAL, strong.projector.wake.notified());
        wait.await.ok();
    }
}

impl Projector {
    /// Stores what waits; with `again` also what the store refused before.
    async fn store(&self, core: &Arc<Hub>, again: bool) {
        let Taken { pending, flushes } = self.waiting.lock().take(again);
        let (stored, refused) = store_surely(core, pending).await;
        for Pending { projection, .. } in &stored {
            let (applied, head) = (projection.applied, projection.head);
            core.conversations
                .tell_hot(projection.conversation, Msg::Stored { applied, head });
        }
        commit(core, &stored).await;
        let mut waiting = self.waiting.lock();
        let done = waiting.stored(refused, flushes);
        self.held.set(waiting.held() as f64);
        self.refused.set(waiting.refused() as f64);
        drop(waiting);
        for done in done {
            done.send(()).ok();
        }
    }
}

/// Tries until the store has taken them. What it refuses is halved until it is known whose fault that is: gives back what is
/// stored, and what is refused.
async fn store_surely(core: &Arc<Hub>, pending: Vec<Pending>) -> (Vec<Pending>, Vec<Pending>) {
    let (mut stored, mut refused) = (Vec::new(), Vec::new());
    let mut batches = vec![pending];
    while let Some(mut batch) = batches.pop() {
        if batch.is_empty() {
            continue;
        }
        match store_batch(core, &batch).await {
            Ok(()) => stored.append(&mut batch),
            Err(_) if batch.len() > 1 => {
                let half = batch.split_off(batch.len() / 2);
                batches.extend([half, batch]);
            }
            Err(error) => {
                let conversation = batch[0].projection.conversation;
                error.log(format_args!(
                    "the store refuses what conversation {conversation} has; trying again"
                ));
                refused.append(&mut batch);
            }
        }
    }
    (stored, refused)
}

/// Tries for as long as the store is away. An error is a refusal.
async fn store_batch(core: &Arc<Hub>, batch: &[Pending]) -> PortResult<()> {
    let mut pause = Duration::from_millis(50);
    loop {
        let started = Instant::now();
        let projections = batch.iter().map(|one| one.projection.clone()).collect();
        match core.chats.project(projections).await {
            Ok(()) => {
                core.metrics.projected.record(started.elapsed());
                return Ok(());
            }
            Err(error) => {
                core.metrics.project_failures.increment(1);
                if let PortError::Broken(_) = error {
                    return Err(error);
                }
                error.log("store projections; trying again");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn commit(core: &Arc<Hub>, stored: &[Pending]) {
    let mut offsets: Vec<(u16, Offset)> = Vec::new();
    for one in stored {
        let shard = one.projection.shard.0;
        offsets.extend(one.offsets.iter().map(|offset| (shard, *offset)));
    }
    offsets.sort_unstable();
    let mut positions = Vec::new();
    for run in offsets.chunk_by(|(a, _), (b, _)| a == b) {
        let shard = &core.shards[usize::from(run[0].0)];
        shard.finish(&run.iter().map(|(_, offset)| *offset).collect::<Vec<_>>());
        if let Some(position) = shard.advance() {
            positions.push((shard.id, position));
        }
    }
    if positions.is_empty() {
        return;
    }
    if let Err(error) = core.log.commit(positions).await {
        error.log("commit log positions; they are committed with the next ones");
    }
}
