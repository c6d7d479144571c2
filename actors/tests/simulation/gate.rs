//! What stands between a node and its log and store: it can slow them, refuse, keep silent, and bury the node.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::*;
use rookery_actors::ports::log::{EventLog, Offset, Record, Report, Reports};
use rookery_actors::ports::{PortError, PortResult};
use rookery_actors::time::Timestamp;
use rookery_cluster::id::ShardId;
use rookery_cluster::testkit::lot::Lot;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// How soon it is noticed what became of a node.
const TICK: Duration = Duration::from_millis(20);
/// How long it may take until a node is told of others' records.
const GROWTH_MS: u64 = 1_000;

/// How the services behave to one node.
#[derive(Default)]
pub struct Mood {
    /// The process is no more: nothing it does has any effect.
    pub dead: AtomicBool,
    pub frozen: AtomicBool,
    pub log_away: AtomicBool,
    pub log_mute: AtomicBool,
    pub store_away: AtomicBool,
}

impl Mood {
    pub fn is(&self, flag: fn(&Self) -> &AtomicBool) -> bool {
        flag(self).load(Ordering::Relaxed)
    }

    /// Waits until the process is no more.
    pub async fn died(&self) {
        while !self.is(|mood| &mood.dead) {
            sleep(TICK).await;
        }
    }

    /// Waits while the node stands still.
    pub async fn thawed(&self) {
        while self.is(|mood| &mood.frozen) && !self.is(|mood| &mood.dead) {
            sleep(TICK).await;
        }
    }

    /// Waits while the node stands still, and for ever once it is dead.
    async fn pass(&self) {
        self.thawed().await;
        if self.is(|mood| &mood.dead) {
            pending().await
        }
    }
}

fn away<T>() -> PortResult<T> {
    Err(PortError::Unavailable("away in this simulation".into()))
}

/// A node's log.
pub struct Log {
    inner: Arc<dyn EventLog>,
    mood: Arc<Mood>,
    queue: mpsc::Sender<(ShardId, Bytes, u64)>,
    reports: Mutex<Option<Arc<Ears>>>,
    waiting: Mutex<Option<mpsc::Receiver<(ShardId, Bytes, u64)>>>,
    lot: Mutex<Lot>,
}

/// Hears the log for a node, and keeps some of it to itself.
struct Ears {
    node: Arc<dyn Reports>,
    mood: Arc<Mood>,
    lot: Mutex<Lot>,
    /// Shards of which a report was kept back; until it is told that they grew, they take nothing.
    unsettled: Mutex<HashSet<ShardId>>,
}

impl Log {
    pub fn new(inner: Arc<dyn EventLog>, mood: Arc<Mood>, lot: Lot) -> Self {
        let (queue, waiting) = mpsc::channel(100_000);
        Self {
            inner,
            mood,
            queue,
            reports: Mutex::default(),
            waiting: Mutex::new(Some(waiting)),
            lot: Mutex::new(lot),
        }
    }

    async fn answer(&self) -> PortResult<()> {
        let delay = self.lot.lock().below(4);
        sleep(Duration::from_millis(delay)).await;
        self.mood.pass().await;
        if self.mood.is(|mood| &mood.log_away) {
            away()
        } else {
            Ok(())
        }
    }
}

impl Reports for Ears {
    fn appended(&self, shard: ShardId, mut reports: Vec<Report>) {
        if self.mood.is(|mood| &mood.dead) {
            return;
        }
        for report in &mut reports {
            if report.outcome.is_ok() && self.mood.is(|mood| &mood.log_mute) && self.lot.lock().percent(30) {
                report.outcome = Err(PortError::Unknown("not told in this simulation".into()));
                self.unsettled.lock().insert(shard);
            }
        }
        self.node.appended(shard, reports);
    }

    /// Others' records are told of within a second, as the port has it, and no sooner than it comes.
    fn grew(&self, shard: ShardId, end: Offset) {
        let (node, mood) = (Arc::clone(&self.node), Arc::clone(&self.mood));
        let delay = self.lot.lock().below(GROWTH_MS);
        tokio::spawn(async move {
            sleep(Duration::from_millis(delay)).await;
            mood.pass().await;
            node.grew(shard, end);
        });
    }
}

#[async_trait]
impl EventLog for Log {
    fn shards(&self) -> u16 {
        self.inner.shards()
    }

    fn start(&self, reports: Arc<dyn Reports>) {
        let ears = Arc::new(Ears {
            node: reports,
            mood: Arc::clone(&self.mood),
            lot: Mutex::new(self.lot.lock().fork()),
            unsettled: Mutex::default(),
        });
        *self.reports.lock() = Some(Arc::clone(&ears));
        self.inner.start(Arc::clone(&ears) as Arc<dyn Reports>);
        let waiting = self.waiting.lock().take().unwrap();
        let lot = self.lot.lock().fork();
        tokio::spawn(append_all(Arc::clone(&self.inner), ears, waiting, lot));
    }

    fn append(&self, shard: ShardId, payload: Bytes, token: u64) {
        let ears = self.reports.lock().clone().unwrap();
        let refused = self.mood.is(|mood| &mood.log_away) || ears.unsettled.lock().contains(&shard);
        if refused || self.queue.try_send((shard, payload, token)).is_err() {
            let outcome = Err(PortError::Unavailable("refused in this simulation".into()));
            ears.node.appended(shard, vec![Report { token, outcome }]);
        }
    }

    async fn read(&self, shard: ShardId, from: Offset, max: usize) -> PortResult<Vec<Record>> {
        self.answer().await?;
        self.inner.read(shard, from, max).await
    }

    async fn ends(&self) -> PortResult<Vec<Offset>> {
        self.answer().await?;
        self.inner.ends().await
    }

    async fn end(&self, shard: ShardId) -> PortResult<Offset> {
        self.answer().await?;
        self.inner.end(shard).await
    }

    fn follow(&self, shards: &[ShardId]) {
        self.inner.follow(shards);
    }

    async fn committed(&self) -> PortResult<Vec<Offset>> {
        self.answer().await?;
        self.inner.committed().await
    }

    async fn commit(&self, positions: Vec<(ShardId, Offset)>) -> PortResult<()> {
        self.answer().await?;
        self.inner.commit(positions).await
    }
}

/// Appends in the order of the calls, each after a moment; settles what was kept back a while later.
async fn append_all(
    inner: Arc<dyn EventLog>,
    ears: Arc<Ears>,
    mut waiting: mpsc::Receiver<(ShardId, Bytes, u64)>,
    mut lot: Lot,
) {
    while let Some((shard, payload, token)) = waiting.recv().await {
        if lot.percent(30) {
            sleep(Duration::from_millis(lot.below(6))).await;
        }
        ears.mood.pass().await;
        if ears.unsettled.lock().contains(&shard) {
            // It was queued behind the one whose fate is open.
            let outcome = Err(PortError::Unavailable("refused in this simulation".into()));
            ears.node.appended(shard, vec![Report { token, outcome }]);
            continue;
        }
        inner.append(shard, payload, token);
        if ears.unsettled.lock().contains(&shard) {
            tokio::spawn(settle(Arc::clone(&inner), Arc::clone(&ears), shard));
        }
    }
}

async fn settle(inner: Arc<dyn EventLog>, ears: Arc<Ears>, shard: ShardId) {
    sleep(Duration::from_millis(100)).await;
    ears.mood.pass().await;
    if let Ok(end) = inner.end(shard).await {
        ears.unsettled.lock().remove(&shard);
        ears.node.grew(shard, end);
    }
}

/// A node's store.
pub struct Store {
    inner: Arc<dyn ChatStore>,
    mood: Arc<Mood>,
    lot: Mutex<Lot>,
}

impl Store {
    pub fn new(inner: Arc<dyn ChatStore>, mood: Arc<Mood>, lot: Lot) -> Self {
        Self {
            inner,
            mood,
            lot: Mutex::new(lot),
        }
    }

    async fn answer(&self) -> PortResult<()> {
        let delay = self.lot.lock().below(8);
        sleep(Duration::from_millis(delay)).await;
        self.mood.pass().await;
        if self.mood.is(|mood| &mood.store_away) {
            away()
        } else {
            Ok(())
        }
    }
}

/// Passes calls on once the store answers.
macro_rules! passed_on {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl ChatStore for Store {
            $(async fn $name(&self, $($argument: $type),*) -> PortResult<$answer> {
                self.answer().await?;
                self.inner.$name($($argument),*).await
            })*
        }
    };
}

passed_on! {
    fn conversation(conversation: ConversationId) -> Option<Snapshot>;
    fn overview(conversation: ConversationId, user: UserId, read: u64) -> Option<Overview>;
    fn project(batch: Vec<Projection>) -> ();
    fn entries(conversation: ConversationId, from: u64, to: u64, limit: usize) -> Vec<Entry>;
    fn messages(conversation: ConversationId, span: Span, limit: usize) -> (Vec<StoredMessage>, bool);
    fn message(conversation: ConversationId, seq: u64) -> Option<StoredMessage>;
    fn find(sought: &[Sought]) -> Vec<Option<(u64, Timestamp)>>;
    fn unread(conversation: ConversationId, user: UserId, after: u64, upto: u64, most: u32) -> u32;
    fn inboxes(users: &[UserId]) -> Vec<Inbox>;
    fn heads(conversations: &[ConversationId]) -> Vec<u64>;
    fn save_cursors(updates: Vec<CursorUpdate>) -> ();
    fn save_preferences(user: UserId, conversation: ConversationId, muted_until: Option<Option<Timestamp>>, pinned: Option<bool>) -> bool;
    fn receipts(conversation: ConversationId, after: Option<UserId>, limit: usize) -> Vec<Cursors>;
    fn acquainted(user: UserId, others: &[UserId]) -> Vec<UserId>;
    fn was_member(conversation: ConversationId, user: UserId) -> bool;
}
