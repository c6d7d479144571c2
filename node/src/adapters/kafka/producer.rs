//! The producer and its thread: hands records over, and turns the brokers' answers into reports.
//!
//! What costs is not the record but the wake-ups: the library's own thread wakes for a record and again for its answer, looks
//! through all partitions each time, and wakes this thread. So the thread works in turns (`turns.rs`), as the embedded log
//! commits: what gathered is handed over together, and the answers of a turn are taken together at its end. It never waits
//! inside the library, whose waits end with a busy millisecond.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::Message;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rookery_actors::ports::log::Report;
use rookery_actors::ports::{PortError, PortResult};
use rookery_cluster::id::ShardId;

use super::client::{self, Health, MEET_AGAIN};
use super::gate::{Gate, Ready};
use super::ledger::Ledger;
use super::topic::PAUSE;
use super::turns::Turns;
use super::{Settings, broken};

/// How often the thread looks for appends that waited too long, and whether the producer still works.
const TEND: Duration = Duration::from_millis(100);
/// How long records that wait at the end may take.
const LAST: Duration = Duration::from_secs(5);
/// The same, when no broker answers anyway.
const LAST_AWAY: Duration = Duration::from_millis(100);
/// A new producer asks for its identity when its first record comes, which takes a second unless it knows the brokers.
const WARM: Duration = Duration::from_secs(5);
/// A producer that failed for good is replaced this often at most.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

/// Takes the answers. Called by the thread that polls, one answer at a time, those of a partition in order.
struct Answers {
    ledger: Arc<Ledger>,
    health: Arc<Health>,
    turn: Arc<Turn>,
}

/// The answers of one turn.
#[derive(Default)]
struct Turn {
    reports: Mutex<Vec<(ShardId, Report)>>,
    /// Everything that ever came, so that the thread sees whether something came.
    came: AtomicUsize,
}

impl ClientContext for Answers {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.turn.came.fetch_add(1, Ordering::Relaxed);
        client::note(&self.health, &error, reason);
    }
}

impl ProducerContext for Answers {
    /// The append's serial number.
    type DeliveryOpaque = usize;

    fn delivery(&self, answer: &DeliveryResult<'_>, serial: usize) {
        self.turn.came.fetch_add(1, Ordering::Relaxed);
        let (message, outcome) = match answer {
            // An attempt before this one had written it, so long ago that the broker forgot where.
            Ok(message) if message.offset() < 0 => (
                message,
                Err(PortError::Unknown(
                    "append to Kafka: kept, but nobody knows where".into(),
                )),
            ),
            Ok(message) => (message, Ok(message.offset().cast_unsigned())),
            Err((error, message)) => (message, Err(client::append_error(error))),
        };
        let shard = ShardId(u16::try_from(message.partition()).unwrap_or(u16::MAX));
        let report = self.ledger.settle(shard, serial, message.payload_len(), outcome);
        self.turn.reports.lock().extend(report.map(|report| (shard, report)));
    }
}

/// The thread's own part.
pub struct Pump {
    settings: Settings,
    ledger: Arc<Ledger>,
    health: Arc<Health>,
    turn: Arc<Turn>,
    current: Option<BaseProducer<Answers>>,
    replaced: Instant,
    tended: Instant,
    /// How much had come in all when something came last, or nothing was waited for, and when that was.
    heard: (usize, Instant),
    /// Empty between turns.
    ready: Vec<Ready>,
}

impl Pump {
    /// Makes a producer that is ready for its first record, within `patience`. Blocks.
    pub fn open(settings: &Settings, ledger: Arc<Ledger>, health: Arc<Health>, patience: Duration) -> PortResult<Self> {
        let deadline = Instant::now() + patience;
        let mut this = Self {
            settings: settings.clone(),
            ledger,
            health,
            turn: Arc::default(),
            current: None,
            replaced: Instant::now(),
            tended: Instant::now(),
            heard: (0, Instant::now()),
            ready: Vec::new(),
        };
        loop {
            match this.make() {
                // Brokers that have just been met may be slow to answer another connection.
                Err(PortError::Unavailable(_)) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                made => {
                    this.current = Some(made?);
                    return Ok(this);
                }
            }
        }
    }

    fn make(&self) -> PortResult<BaseProducer<Answers>> {
        let answers = Answers {
            ledger: Arc::clone(&self.ledger),
            health: Arc::clone(&self.health),
            turn: Arc::clone(&self.turn),
        };
        let config = client::producer(&self.settings)?;
        let producer = BaseProducer::from_config_and_context(&config, answers).map_err(|error| broken(&error))?;
        let warmed = producer.client().fetch_metadata(Some(&self.settings.topic), WARM);
        warmed.map_err(|error| client::request_error("kafka: meet the brokers", &error))?;
        Ok(producer)
    }

    /// Until the gate is closed.
    pub fn run(mut self) {
        let ledger = Arc::clone(&self.ledger);
        let (gate, mut turns) = (ledger.gate(), Turns::new(self.settings.linger()));
        let mut last = Instant::now();
        while !gate.is_closed() {
            let began = Instant::now();
            let handed = self.hand_over(gate);
            let turn = turns.handed(handed, began - last);
            if handed > 0 {
                last = began;
            }
            if ledger.is_waiting() {
                gate.gather(began + turn);
                turns.ended(self.take_answers());
            } else {
                gate.sleep(TEND);
            }
            if self.tended.elapsed() >= TEND {
                self.tend();
            }
        }
        self.finish(gate);
    }

    /// Gives the producer what is ready; answers how much that was. Never blocks.
    fn hand_over(&mut self, gate: &Gate) -> usize {
        let mut ready = std::mem::take(&mut self.ready);
        gate.take(&mut ready);
        let count = ready.len();
        for append in ready.drain(..) {
            if let Err(refusal) = self.send(&append) {
                let settled = self
                    .ledger
                    .settle(append.shard, append.serial, append.payload.len(), Err(refusal));
                settled
                    .into_iter()
                    .for_each(|report| self.ledger.report(append.shard, vec![report]));
            }
        }
        self.ready = ready;
        count
    }

    fn send(&self, append: &Ready) -> PortResult<()> {
        let none = || PortError::Unavailable("append to Kafka: there is no producer at the moment".into());
        let producer = self.current.as_ref().ok_or_else(none)?;
        let record = BaseRecord::<(), [u8], usize>::with_opaque_to(&self.settings.topic, append.serial)
            .partition(append.shard.0.into())
            .payload(&append.payload[..]);
        producer.send(record).map_err(|(error, _)| client::refusal(&error))
    }

    /// Takes all answers that have come; answers how many.
    fn take_answers(&self) -> usize {
        let Some(producer) = &self.current else { return 0 };
        let first = self.turn.came.load(Ordering::Relaxed);
        loop {
            let before = self.turn.came.load(Ordering::Relaxed);
            producer.poll(Duration::ZERO);
            if self.turn.came.load(Ordering::Relaxed) == before {
                break;
            }
        }
        self.report();
        self.turn.came.load(Ordering::Relaxed).wrapping_sub(first)
    }

    /// Reports what was answered, that of a shard together.
    fn report(&self) {
        let mut reports = std::mem::take(&mut *self.turn.reports.lock());
        // Stable: those of a shard stay in their order.
        reports.sort_by_key(|(shard, _)| shard.0);
        let mut reports = reports.into_iter().peekable();
        while let Some((shard, first)) = reports.next() {
            let mut batch = vec![first];
            while let Some((_, next)) = reports.next_if(|(next, _)| *next == shard) {
                batch.push(next);
            }
            self.ledger.report(shard, batch);
        }
    }

    fn tend(&mut self) {
        self.tended = Instant::now();
        self.take_answers();
        self.ledger.expire(self.settings.append_timeout());
        self.meet_again_where_nothing_comes();
        let works = self
            .current
            .as_ref()
            .is_some_and(|producer| producer.client().fatal_error().is_none());
        if !works && self.replaced.elapsed() >= REPLACE_EVERY {
            self.replaced = Instant::now();
            self.replace();
        }
    }

    fn meet_again_where_nothing_comes(&mut self) {
        let came = self.turn.came.load(Ordering::Relaxed);
        if came != self.heard.0 || !self.ledger.is_waiting() {
            self.heard = (came, Instant::now());
        } else if self.heard.1.elapsed() >= MEET_AGAIN {
            self.heard.1 = Instant::now();
            if let Some(producer) = &self.current {
                client::meet_again(producer.client(), &self.settings.brokers);
            }
        }
    }

    /// A producer that met a fatal error takes nothing any more. What it held is reported first, so that nothing of the new
    /// one comes before it.
    fn replace(&mut self) {
        let failed = self.current.take();
        if let Some((code, reason)) = failed.as_ref().and_then(|it| it.client().fatal_error()) {
            tracing::error!(%code, reason, "the Kafka producer failed for good; another takes its place");
            metrics::counter!("node_kafka_producers_replaced_total").increment(1);
        }
        drop(failed);
        self.report();
        match self.make() {
            Ok(producer) => self.current = Some(producer),
            Err(error) => tracing::error!(%error, "make another Kafka producer; trying again"),
        }
    }

    /// Waits for the last answers; what has none by then is reported as unknown.
    fn finish(mut self, gate: &Gate) {
        self.hand_over(gate);
        if let Some(producer) = self.current.take() {
            producer
                .flush(if self.health.is_away() { LAST_AWAY } else { LAST })
                .ok();
        }
        self.report();
        self.ledger.expire(Duration::ZERO);
    }
}
