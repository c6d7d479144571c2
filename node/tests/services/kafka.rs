//! Promise: the event log on Kafka keeps its port's contract on a real broker, and what happens to brokers, to the network or to
//! other writers neither loses, doubles nor reorders a record.

mod faults;
mod judge;
mod positions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_actors::ports::PortError;
use rookery_actors::ports::log::{EventLog, Offset, Report, Reports};
use rookery_actors::testkit::log;
use rookery_cluster::id::ShardId;
use rookery_node::adapters::kafka::{KafkaLog, Settings};
use tokio::time::Instant;

use crate::support::{self, fresh};

/// Longer than anything takes, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);
const A: ShardId = ShardId(0);
const B: ShardId = ShardId(3);

/// Settings of a log of its own at a broker of one.
pub fn settings(brokers: &str) -> Settings {
    let topic = fresh("log");
    Settings {
        brokers: brokers.into(),
        group: format!("{topic}-group"),
        topic,
        replication_factor: 1,
        min_insync_replicas: 1,
        append_timeout_ms: 3_000,
        ..Settings::default()
    }
}

async fn open(settings: &Settings, shards: u16) -> KafkaLog {
    KafkaLog::open(settings, shards, PATIENCE).await.expect("the log opens")
}

/// Takes reports and growth as they come.
#[derive(Default)]
struct Heard {
    reports: Mutex<Vec<(ShardId, Report)>>,
    grew: Mutex<BTreeMap<u16, Offset>>,
}

impl Reports for Heard {
    fn appended(&self, shard: ShardId, reports: Vec<Report>) {
        self.reports
            .lock()
            .extend(reports.into_iter().map(|report| (shard, report)));
    }

    fn grew(&self, shard: ShardId, end: Offset) {
        self.grew.lock().insert(shard.0, end);
    }
}

impl Heard {
    fn by(log: &KafkaLog) -> Arc<Self> {
        let heard = Arc::new(Self::default());
        log.start(heard.clone());
        heard
    }

    fn count(&self) -> usize {
        self.reports.lock().len()
    }

    /// Appends that were reported as kept.
    fn kept(&self) -> usize {
        let reports = self.reports.lock();
        reports.iter().filter(|(_, report)| report.outcome.is_ok()).count()
    }

    fn end(&self, shard: ShardId) -> Option<Offset> {
        self.grew.lock().get(&shard.0).copied()
    }

    async fn take(&self, count: usize) -> Vec<(ShardId, Report)> {
        eventually("the reports", || self.count() >= count).await;
        std::mem::take(&mut *self.reports.lock())
    }
}

/// Waits until it is so; answers how long that took.
async fn eventually(what: &str, so: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

async fn texts(log: &KafkaLog, shard: ShardId, from: Offset) -> Vec<String> {
    let records = log.read(shard, from, 10_000).await.expect("read");
    let text = |record: &rookery_actors::ports::log::Record| String::from_utf8_lossy(&record.payload).into_owned();
    records.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_on_kafka_keeps_its_contract() {
    let current = Mutex::new(settings(&support::kafka()));
    let fresh = async || {
        let made = Settings {
            // A flood on a busy machine is refused or kept, and not given up.
            append_timeout_ms: 9_000,
            ..settings(&support::kafka())
        };
        current.lock().clone_from(&made);
        Arc::new(open(&made, 16).await) as Arc<dyn EventLog>
    };
    let reopened = async |log: Arc<dyn EventLog>| {
        drop(log);
        let settings = current.lock().clone();
        Arc::new(open(&settings, 16).await) as Arc<dyn EventLog>
    };
    log::suite(fresh, reopened).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_writers_records_are_told_within_a_second_and_read_in_order() {
    let settings = settings(&support::kafka());
    let (ours, theirs) = (open(&settings, 4).await, open(&settings, 4).await);
    let (heard, _their_reports) = (Heard::by(&ours), Heard::by(&theirs));
    ours.follow(&[A, B]);
    for token in 0..10 {
        ours.append(A, Bytes::from(format!("ours {token}")), token);
    }
    heard.take(10).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(heard.end(A), None, "our own records are no growth");

    // The machine may have other work: of several tries the quickest counts.
    let mut quickest = PATIENCE;
    for turn in 0..4 {
        for token in turn * 25..turn * 25 + 25 {
            theirs.append(B, Bytes::from(token.to_string()), token);
        }
        let took = eventually("growth", || heard.end(B) == Some(turn * 25 + 25)).await;
        quickest = quickest.min(took);
    }
    assert!(quickest < Duration::from_millis(1_500), "told after {quickest:?}");
    let expected: Vec<String> = (0..100).map(|token| token.to_string()).collect();
    assert_eq!(texts(&ours, B, 0).await, expected);

    ours.follow(&[A]);
    theirs.append(B, Bytes::from_static(b"nobody follows"), 1);
    theirs.append(A, Bytes::from_static(b"theirs"), 2);
    eventually("growth", || heard.end(A) == Some(11)).await;
    assert_eq!(texts(&ours, A, 9).await, ["ours 9", "theirs"]);
    assert_eq!(heard.end(B), Some(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_another_shape_is_refused_with_one_sentence() {
    let settings = settings(&support::kafka());
    drop(open(&settings, 4).await);
    let refusal = async |settings: &Settings, shards| {
        let patience = Duration::from_secs(1);
        let error = KafkaLog::open(settings, shards, patience).await.err().expect("refused");
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text}");
        (error, text)
    };
    let (error, text) = refusal(&settings, 8).await;
    assert!(matches!(error, PortError::Broken(_)), "{text}");
    assert!(text.contains("4 partitions") && text.contains("8 shards"), "{text}");

    let more_copies = Settings {
        replication_factor: 3,
        ..settings.clone()
    };
    let (_, text) = refusal(&more_copies, 4).await;
    assert!(text.contains("kafka.replication_factor"), "{text}");
    let impossible = Settings {
        topic: fresh("log"),
        ..more_copies
    };
    let (_, text) = refusal(&impossible, 4).await;
    assert!(text.contains("fewer brokers"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_said_in_one_sentence_within_the_time_given() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let began = Instant::now();
    let opened = KafkaLog::open(&settings(&nobody.to_string()), 4, Duration::from_secs(2)).await;
    let error = opened.err().expect("nobody there");
    assert!(matches!(error, PortError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("kafka.brokers"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_shards_can_be_read_at_once() {
    let settings = settings(&support::kafka());
    let log = Arc::new(open(&settings, 64).await);
    let heard = Heard::by(&log);
    for token in 0..6_400 {
        log.append(ShardId((token % 64) as u16), Bytes::from(token.to_string()), token);
    }
    heard.take(6_400).await;
    let began = Instant::now();
    let read = |shard| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.read(ShardId(shard), 0, 1_000).await.expect("read").len() })
    };
    let reads: Vec<_> = (0..64).chain(0..64).map(read).collect();
    for read in reads {
        assert_eq!(read.await.unwrap(), 100);
    }
    println!("128 reads of 100 records, 64 shards: {:?}", began.elapsed());
    let began = Instant::now();
    for from in 0..100 {
        assert_eq!(log.read(A, from, 1).await.expect("read").len(), 1);
    }
    println!("100 reads of one record, one after the other: {:?}", began.elapsed());
}
