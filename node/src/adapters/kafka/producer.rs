//! The producer and its thread: hands records over, and turns the brokers' answers into reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rdkafka::Message;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rookery_actors::ports::{PortError, PortResult};
use rookery_cluster::id::ShardId;

use super::client::{self, Health};
use super::ledger::Ledger;
use super::{Settings, broken};

/// How often the thread looks for appends that waited too long; reports come when they come.
const TURN: Duration = Duration::from_millis(100);
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
}

impl ClientContext for Answers {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::note(&self.health, &error, reason);
    }
}

impl ProducerContext for Answers {
    /// The append's serial number.
    type DeliveryOpaque = usize;

    fn delivery(&self, answer: &DeliveryResult<'_>, serial: usize) {
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
        self.ledger.settle(shard, serial, message.payload_len(), outcome);
    }
}

/// Where appends go in. Shared by the callers and the thread.
pub struct Producer {
    settings: Settings,
    ledger: Arc<Ledger>,
    health: Arc<Health>,
    current: RwLock<Option<Arc<BaseProducer<Answers>>>>,
    stopping: AtomicBool,
}

impl Producer {
    /// Makes a producer that is ready for its first record. Blocks.
    pub fn open(settings: &Settings, ledger: Arc<Ledger>, health: Arc<Health>) -> PortResult<Self> {
        let this = Self {
            settings: settings.clone(),
            ledger,
            health,
            current: RwLock::new(None),
            stopping: AtomicBool::new(false),
        };
        *this.current.write() = Some(Arc::new(this.make()?));
        Ok(this)
    }

    fn make(&self) -> PortResult<BaseProducer<Answers>> {
        let answers = Answers {
            ledger: Arc::clone(&self.ledger),
            health: Arc::clone(&self.health),
        };
        let config = client::producer(&self.settings)?;
        let producer = BaseProducer::from_config_and_context(&config, answers).map_err(|error| broken(&error))?;
        let warmed = producer.client().fetch_metadata(Some(&self.settings.topic), WARM);
        warmed.map_err(|error| client::request_error("kafka: meet the brokers", &error))?;
        Ok(producer)
    }

    /// Hands a record over; never blocks.
    pub fn send(&self, shard: ShardId, payload: &[u8], serial: usize) -> PortResult<()> {
        let current = self.current.read();
        let closed = || PortError::Unavailable("append to Kafka: there is no producer at the moment".into());
        let producer = current.as_ref().ok_or_else(closed)?;
        let record = BaseRecord::<(), [u8], usize>::with_opaque_to(&self.settings.topic, serial)
            .partition(shard.0.into())
            .payload(payload);
        producer.send(record).map_err(|(error, _)| client::refusal(&error))
    }

    /// Lets the thread finish what waits, and end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The thread.
    pub fn run(&self) {
        let mut replaced = Instant::now();
        while !self.stopping.load(Ordering::Relaxed) {
            let current = self.current.read().clone();
            match current {
                Some(producer) if producer.client().fatal_error().is_none() => producer.poll(TURN),
                _ if replaced.elapsed() < REPLACE_EVERY => std::thread::sleep(TURN),
                _ => {
                    replaced = Instant::now();
                    self.replace();
                }
            }
            self.ledger.expire(self.settings.append_timeout());
        }
        self.finish();
    }

    /// A producer that met a fatal error takes nothing any more. What it held is reported first, so that nothing of the new
    /// one comes before it.
    fn replace(&self) {
        let failed = self.current.write().take();
        if let Some((code, reason)) = failed.as_ref().and_then(|it| it.client().fatal_error()) {
            tracing::error!(%code, reason, "the Kafka producer failed for good; another takes its place");
            metrics::counter!("node_kafka_producers_replaced_total").increment(1);
        }
        drop(failed);
        match self.make() {
            Ok(producer) => *self.current.write() = Some(Arc::new(producer)),
            Err(error) => tracing::error!(%error, "make another Kafka producer; trying again"),
        }
    }

    /// Waits for the last answers; what has none by then is reported as unknown.
    fn finish(&self) {
        let last = self.current.write().take();
        if let Some(producer) = last {
            producer
                .flush(if self.health.is_away() { LAST_AWAY } else { LAST })
                .ok();
        }
        self.ledger.expire(Duration::ZERO);
    }
}
