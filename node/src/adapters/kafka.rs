//! The event log on Kafka: a shard is a partition of one topic, a record's offset the partition's.
//!
//! Three threads and two clients of the library. The *producer* is idempotent and waits for all in-sync replicas; its thread
//! (`producer.rs`) turns answers into reports, without a future a record. The *consumer* is in no group: it reads on demand
//! (`reader.rs`), asks where partitions end, and commits positions. The third thread watches (`watch.rs`).
//!
//! What always holds:
//!
//! * Records of a shard stand in the order of their appends, through lost connections, other leaders and restarts of brokers,
//!   and none twice: the producer numbers them, keeps at most five batches of a partition under way, and never gives a record up.
//! * Who appends is answered within `append_timeout_ms` all the same. No answer by then is reported `Unknown`; the record is
//!   settled later, and until then its shard refuses appends (`outstanding.rs`). With no broker at all, appends are refused at
//!   once; refused means surely not in the log.
//! * Offsets of a partition are contiguous, because nothing is written in transactions and the topic is not compacted; a read
//!   that finds a hole is `Broken`.
//! * Nothing here blocks a worker of the runtime, but for dropping the log.
//!
//! What holds of committed positions: they are the group's, so that Kafka's own tools show the lag. Each commit asks what stands
//! there and writes only what is beyond it. The broker itself takes whatever comes last, so the commit of a node that just lost a
//! shard can fall between another's question and its commit; then the position is too low until the owner's next commit, or
//! until its watch finds it, within half a minute. A position that is too low costs whoever takes over a longer replay of what
//! the store knows already, and nothing else. It is never too high: each node commits only what is stored.
//!
//! Retention deletes by age, whatever is committed. A `read` from below is `Broken`: see `docs/operation.md`.

mod client;
mod gate;
mod growth;
mod ledger;
mod offsets;
mod outstanding;
mod producer;
mod reader;
mod reads;
mod settings;
mod topic;
mod turns;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rookery_actors::ports::log::{EventLog, Offset, Record, Reports};
use rookery_actors::ports::{PortError, PortResult};
use rookery_cluster::id::ShardId;

use self::client::{Health, Quiet};
use self::growth::Growth;
use self::ledger::Ledger;
use self::offsets::Consumer;
use self::producer::Pump;
use self::reader::Reader;
pub use self::settings::Settings;
use self::watch::{Watch, Watched};

/// How long dropping the log waits for its threads: longer than the last records may take.
const CLOSING: Duration = Duration::from_secs(10);

/// The event log in one Kafka topic. Dropping it waits for the answers to what is under way, for seconds at most.
pub struct KafkaLog {
    shards: u16,
    ledger: Arc<Ledger>,
    consumer: Consumer,
    reader: Option<reader::Handle>,
    health: Arc<Health>,
    watched: Arc<Watched>,
    /// The largest end seen, by shard: a read that ends before it need not ask.
    ends: Vec<AtomicU64>,
    /// Every thread holds the other side until it ends.
    threads: Mutex<mpsc::Receiver<()>>,
}

impl KafkaLog {
    /// Opens the log, making the topic where it is missing, one partition a shard. Says in one sentence what is wrong; a broker
    /// that does not answer is waited for that long.
    pub async fn open(settings: &Settings, shards: u16, patience: Duration) -> PortResult<Self> {
        settings.check().map_err(PortError::Broken)?;
        let health = Arc::new(Health::default());
        let consumer = BaseConsumer::from_config_and_context(&client::consumer(settings)?, Quiet(Arc::clone(&health)))
            .map_err(|error| broken(&error))?;
        let consumer = Consumer::new(consumer, settings);
        topic::ready(&consumer, settings, &health, shards, patience).await?;
        let ledger = Arc::new(Ledger::new(shards, Arc::clone(&health)));
        let pump = {
            let (settings, ledger, health) = (settings.clone(), Arc::clone(&ledger), Arc::clone(&health));
            let made = tokio::task::spawn_blocking(move || Pump::open(&settings, ledger, health, patience)).await;
            made.map_err(|error| PortError::Broken(format!("kafka: {error}")))??
        };
        let committed = committed(&consumer, shards, patience).await?;
        let (closing, threads) = mpsc::sync_channel(1);
        let (reader, handle) = Reader::new(consumer.clone());
        let log = Self {
            shards,
            ledger,
            consumer,
            reader: Some(handle),
            health,
            watched: Arc::new(Watched {
                growth: Mutex::new(Growth::default()),
                committed: Mutex::new(committed),
                stopping: AtomicBool::new(false),
            }),
            ends: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            threads: Mutex::new(threads),
        };
        log.spawn_threads(pump, reader, closing)?;
        Ok(log)
    }

    fn spawn_threads(&self, pump: Pump, reader: Reader, closing: mpsc::SyncSender<()>) -> PortResult<()> {
        let watch = Watch {
            consumer: self.consumer.clone(),
            ledger: Arc::clone(&self.ledger),
            health: Arc::clone(&self.health),
            watched: Arc::clone(&self.watched),
            told: metrics::counter!("node_kafka_grew_total"),
        };
        spawn("kafka-producer", closing.clone(), move || pump.run())?;
        spawn("kafka-watch", closing.clone(), move || watch.run())?;
        spawn("kafka-reader", closing, move || reader.run())
    }

    fn known(&self, shard: ShardId) -> PortResult<()> {
        if shard.0 < self.shards {
            Ok(())
        } else {
            Err(PortError::Broken(format!("the log has no shard {shard}")))
        }
    }

    fn all(&self) -> Vec<u16> {
        (0..self.shards).collect()
    }

    /// Remembers an end and answers it.
    fn seen(&self, shard: ShardId, end: Offset) -> Offset {
        self.ends[usize::from(shard.0)].fetch_max(end, Ordering::Relaxed);
        end
    }

    /// An end of a shard, which need not be the newest if it is at least this.
    async fn end_or(&self, shard: ShardId, enough: Offset) -> PortResult<Offset> {
        let known = self.ends[usize::from(shard.0)].load(Ordering::Relaxed);
        let known = known.max(self.ledger.end(shard.0));
        if known >= enough {
            Ok(known)
        } else {
            self.end(shard).await
        }
    }
}

/// The committed positions at the start, when the partitions of a new topic may still be on their way to their leaders.
async fn committed(consumer: &Consumer, shards: u16, patience: Duration) -> PortResult<Vec<Offset>> {
    let deadline = Instant::now() + patience;
    loop {
        match consumer.committed((0..shards).collect()).await {
            Err(PortError::Unavailable(_)) if Instant::now() < deadline => tokio::time::sleep(topic::PAUSE).await,
            outcome => return outcome,
        }
    }
}

fn spawn(name: &str, closing: mpsc::SyncSender<()>, run: impl FnOnce() + Send + 'static) -> PortResult<()> {
    let body = move || {
        run();
        drop(closing);
    };
    let spawned = std::thread::Builder::new().name(name.into()).spawn(body);
    spawned
        .map(drop)
        .map_err(|error| PortError::Broken(format!("start the thread {name}: {error}")))
}

fn broken(error: &KafkaError) -> PortError {
    PortError::Broken(format!("kafka: the settings cannot be used: {error}"))
}

#[async_trait]
impl EventLog for KafkaLog {
    fn shards(&self) -> u16 {
        self.shards
    }

    fn start(&self, reports: Arc<dyn Reports>) {
        self.ledger.start(reports);
    }

    fn append(&self, shard: ShardId, payload: Bytes, token: u64) {
        if let Err(refusal) = self.ledger.append(shard, payload, token) {
            self.ledger.refuse(shard, token, refusal);
        }
    }

    async fn read(&self, shard: ShardId, from: Offset, max: usize) -> PortResult<Vec<Record>> {
        self.known(shard)?;
        if max == 0 {
            return Ok(Vec::new());
        }
        let most = from.saturating_add(max as u64);
        let until = self.end_or(shard, most).await?.min(most);
        if until <= from {
            return Ok(Vec::new());
        }
        let closed = || PortError::Unavailable("the log is closed".into());
        let reader = self.reader.as_ref().ok_or_else(closed)?;
        reader.read(shard.0, from, until).await
    }

    async fn ends(&self) -> PortResult<Vec<Offset>> {
        let ends = self.consumer.ends(self.all()).await?;
        Ok((0..)
            .zip(ends)
            .map(|(shard, end)| self.seen(ShardId(shard), end))
            .collect())
    }

    async fn end(&self, shard: ShardId) -> PortResult<Offset> {
        self.known(shard)?;
        let ends = self.consumer.ends(vec![shard.0]).await?;
        let nothing = || PortError::Broken(format!("Kafka did not say where shard {shard} ends"));
        ends.first().map(|end| self.seen(shard, *end)).ok_or_else(nothing)
    }

    fn follow(&self, shards: &[ShardId]) {
        let shards: Vec<u16> = shards
            .iter()
            .map(|shard| shard.0)
            .filter(|shard| *shard < self.shards)
            .collect();
        self.watched.growth.lock().follow(&shards);
    }

    async fn committed(&self) -> PortResult<Vec<Offset>> {
        let found = self.consumer.committed(self.all()).await?;
        let mut known = self.watched.committed.lock();
        for (known, found) in known.iter_mut().zip(found) {
            *known = (*known).max(found);
        }
        Ok(known.clone())
    }

    async fn commit(&self, positions: Vec<(ShardId, Offset)>) -> PortResult<()> {
        for (shard, _) in &positions {
            self.known(*shard)?;
        }
        let ahead: Vec<(u16, Offset)> = {
            let known = self.watched.committed.lock();
            let is_ahead = |(shard, next): &(u16, Offset)| *next > known[usize::from(*shard)];
            positions
                .into_iter()
                .map(|(shard, next)| (shard.0, next))
                .filter(is_ahead)
                .collect()
        };
        if ahead.is_empty() {
            return Ok(());
        }
        self.consumer.commit(ahead.clone()).await?;
        metrics::counter!("node_kafka_commits_total").increment(1);
        let mut known = self.watched.committed.lock();
        for (shard, next) in ahead {
            let known = &mut known[usize::from(shard)];
            *known = (*known).max(next);
        }
        Ok(())
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.ledger.gate().close();
        self.watched.stopping.store(true, Ordering::Relaxed);
        self.health.look();
        self.reader = None;
        // Answered by an error as soon as the last thread has let go of its end.
        if let Err(RecvTimeoutError::Timeout) = self.threads.lock().recv_timeout(CLOSING) {
            tracing::warn!("the log's threads did not end in time");
        }
    }
}
