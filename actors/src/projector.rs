//! Projections on their way to the store: gathered for a moment, stored together, then committed to the log.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::conversation::actor::Msg;
use crate::defaults;
use crate::hub::Hub;
use crate::id::ConversationId;
use crate::ports::chats::{Entry, Projection, Step, StoredChange};
use crate::ports::log::Offset;

/// Gathers projections. What waits is bounded by [`is_full`](Self::is_full), which senders ask first.
pub struct Projector {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// Bytes that may wait.
    most: usize,
    held: Gauge,
}

#[derive(Default)]
struct Waiting {
    /// By conversation, so that a conversation's projections of one commit are one.
    projections: HashMap<ConversationId, Projection>,
    /// Offsets by shard.
    offsets: Vec<(u16, Offset)>,
    bytes: usize,
    /// Bytes that are being stored.
    storing: usize,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Waiting {
    /// All that the store does not have yet.
    fn held(&self) -> usize {
        self.bytes + self.storing
    }
}

impl Projector {
    /// One that is full beyond so many bytes.
    pub fn new(most: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            most,
            held: gauge!("actors_unstored_bytes"),
        }
    }

    /// Takes what one conversation has to make durable. `urgent` does not wait for others.
    pub fn push(&self, projection: Projection, offsets: &[Offset], urgent: bool) {
        let mut waiting = self.waiting.lock();
        let shard = projection.shard.0;
        waiting.offsets.extend(offsets.iter().map(|offset| (shard, *offset)));
        waiting.bytes += projection.weight();
        match waiting.projections.get_mut(&projection.conversation) {
            Some(known) => known.append(projection),
            None => drop(waiting.projections.insert(projection.conversation, projection)),
        }
        let hurry = urgent || waiting.bytes >= defaults::BYTES_A_COMMIT;
        self.held.set(waiting.held() as f64);
        drop(waiting);
        if hurry {
            self.wake.notify_one();
        }
    }

    /// So much waits for the store that nothing more should be sent.
    pub fn is_full(&self) -> bool {
        self.waiting.lock().held() > self.most
    }

    /// Returns when everything pushed so far is stored and committed.
    pub async fn flush(&self) {
        let (done, stored) = oneshot::channel();
        self.waiting.lock().flushes.push(done);
        self.wake.notify_one();
        stored.await.ok();
    }

    fn take(&self) -> Waiting {
        let mut waiting = self.waiting.lock();
        let taken = std::mem::take(&mut *waiting);
        waiting.storing = taken.bytes;
        taken
    }

    fn stored(&self) {
        let mut waiting = self.waiting.lock();
        waiting.storing = 0;
        self.held.set(waiting.held() as f64);
    }
}

/// What an entry takes in memory beside what was written into it.
const ENTRY_BYTES: usize = 400;

impl Projection {
    /// About how many bytes these changes hold in memory until they are stored.
    fn weight(&self) -> usize {
        let entry = |step: &Step| match step {
            Step::Entry(entry) => ENTRY_BYTES + written(entry),
            Step::Joined(members) => ENTRY_BYTES * members.len(),
            _ => ENTRY_BYTES,
        };
        self.steps.iter().map(entry).sum()
    }

    fn append(&mut self, later: Self) {
        self.applied = later.applied;
        self.head = later.head;
        self.active_at = later.active_at;
        self.steps.extend(later.steps);
    }
}

/// The text and data of an entry, in bytes.
fn written(entry: &Entry) -> usize {
    match entry {
        Entry::Message(message) => {
            message.content.body.len() + message.content.data.as_ref().map_or(0, |data| data.as_str().len())
        }
        Entry::Update(update) => match &update.change {
            StoredChange::Edit { body } => body.as_ref().map_or(0, String::len),
            StoredChange::Delete | StoredChange::React { .. } => 0,
        },
    }
}

/// Stores what was gathered, until the core is gone.
pub async fn run(core: Weak<Hub>) {
    loop {
        let Some(strong) = core.upgrade() else { return };
        strong.projector.store(&strong).await;
        let wait = tokio::time::timeout(defaults::PROJECT_INTERVAL, strong.projector.wake.notified());
        wait.await.ok();
    }
}

impl Projector {
    async fn store(&self, core: &Arc<Hub>) {
        let taken = self.take();
        if !taken.projections.is_empty() {
            let started = std::time::Instant::now();
            let marks: Vec<_> = taken
                .projections
                .values()
                .map(|it| (it.conversation, it.applied, it.head))
                .collect();
            store_surely(core, taken.projections.into_values().collect()).await;
            self.stored();
            core.metrics.projected.record(started.elapsed());
            for (conversation, applied, head) in marks {
                core.conversations.tell_hot(conversation, Msg::Stored { applied, head });
            }
        }
        commit(core, taken.offsets).await;
        for done in taken.flushes {
            done.send(()).ok();
        }
    }
}

/// Tries until the store has taken them: what is in the log must reach the store, however long that is away.
async fn store_surely(core: &Arc<Hub>, batch: Vec<Projection>) {
    let mut pause = Duration::from_millis(50);
    while let Err(error) = core.chats.project(batch.clone()).await {
        error.log("store projections; trying again");
        core.metrics.project_failures.increment(1);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn commit(core: &Arc<Hub>, mut offsets: Vec<(u16, Offset)>) {
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

#[cfg(test)]
mod tests {
    use rookery_cluster::id::ShardId;
    use uuid::Uuid;

    use super::*;
    use crate::time::Timestamp;

    fn projection(number: u128) -> Projection {
        Projection {
            conversation: ConversationId(Uuid::from_u128(number)),
            shard: ShardId(0),
            applied: 1,
            head: 1,
            active_at: Timestamp(0),
            steps: vec![Step::Left(Vec::new())],
        }
    }

    #[test]
    fn it_is_full_beyond_its_bound_until_what_was_taken_is_stored() {
        let projector = Projector::new(2 * ENTRY_BYTES);
        projector.push(projection(1), &[], false);
        projector.push(projection(2), &[], false);
        assert!(!projector.is_full());
        let taken = projector.take();
        assert_eq!(taken.projections.len(), 2);
        projector.push(projection(1), &[], false);
        assert!(projector.is_full(), "what is being stored is not stored yet");
        projector.stored();
        assert!(!projector.is_full());
    }
}
