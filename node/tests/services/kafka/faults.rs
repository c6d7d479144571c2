//! What happens to brokers and writers.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rookery_actors::ports::PortError;
use rookery_actors::ports::log::EventLog;
use rookery_cluster::id::ShardId;
use rookery_node::adapters::kafka::{KafkaLog, Settings};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::judge::{self, payload};
use super::{A, B, Heard, PATIENCE, eventually, open, settings, texts};
use crate::support::{self, Service};

const SHARDS: u16 = 8;
/// Longer than a broker may be silent before it is taken for dead (`broker.session.timeout.ms`).
const STANDSTILL: Duration = Duration::from_secs(7);

/// Appends in the background until it is stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Writer {
    fn start(log: &Arc<KafkaLog>, a_second: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (log, told) = (Arc::clone(log), Arc::clone(&stop));
        let task = tokio::spawn(async move { judge::append(&log, SHARDS, a_second, &told).await });
        Self { stop, task }
    }

    /// Answers how many were appended.
    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_and_started_again_loses_doubles_and_reorders_nothing() {
    let broker = Service::start("kafka").await;
    let log = Arc::new(open(&settings(&broker.address()), SHARDS).await);
    let heard = Heard::by(&log);
    let all: Vec<ShardId> = (0..SHARDS).map(ShardId).collect();
    log.follow(&all);
    let writer = Writer::start(&log, 2_000);
    eventually("the first reports", || heard.kept() > 2_000).await;
    broker.kill().await;
    broker.start_again().await;
    // It goes on by itself.
    let back = heard.kept();
    eventually("the next reports", || heard.kept() > back + 4_000).await;
    let count = writer.stop().await;
    eventually("all reports", || heard.count() as u64 >= count).await;
    let reports = heard.take(0).await;
    let tally = judge::judge(&log, SHARDS, count, &reports).await;
    // Those under way when it died, and no others, wait for an answer that never comes: at the most what is appended in the
    // time after which an append is answered for.
    assert!(tally.unknown < 6_000, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_is_answered_for_in_time_and_settled_when_it_speaks_again() {
    let broker = Service::start("kafka").await;
    let log = open(&settings(&broker.address()), 4).await;
    let heard = Heard::by(&log);
    log.follow(&[A, B]);
    log.append(A, Bytes::from_static(b"before"), 1);
    heard.take(1).await;

    broker.pause();
    let began = Instant::now();
    log.append(A, Bytes::from_static(b"in doubt"), 2);
    let report = heard.take(1).await.remove(0).1;
    assert!(matches!(report.outcome, Err(PortError::Unknown(_))), "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "after {:?}", began.elapsed());
    for shard in [A, B] {
        let began = Instant::now();
        log.append(shard, Bytes::from_static(b"refused"), 3);
        let report = heard.take(1).await.remove(0).1;
        assert!(matches!(report.outcome, Err(PortError::Unavailable(_))), "{report:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "after {:?}", began.elapsed());
    }
    broker.resume();
    // The record in doubt comes to stand, and is told like another writer's.
    eventually("growth", || heard.end(A).is_some()).await;
    assert_eq!(texts(&log, A, 0).await, ["before", "in doubt"]);
    log.append(A, Bytes::from_static(b"after"), 4);
    assert_eq!(heard.take(1).await[0].1.outcome.clone().unwrap(), 2);
}

/// A broker that stood still takes itself for dead, and lists none to who asks before it is registered again.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_opened_while_the_broker_stands_still_is_open_when_it_goes_on() {
    let broker = Service::start("kafka").await;
    let settings = settings(&broker.address());
    drop(open(&settings, 4).await);
    let mut opening = Vec::new();
    for _ in 0..6 {
        let settings = settings.clone();
        opening.push(tokio::spawn(async move { open(&settings, 4).await }));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    broker.pause();
    tokio::time::sleep(STANDSTILL).await;
    broker.resume();
    for opening in opening {
        opening.await.expect("the log opens");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_broker_of_three_loses_doubles_and_reorders_nothing() {
    let brokers = Service::three_brokers().await;
    let addresses: Vec<String> = brokers.iter().map(Service::address).collect();
    let settings = Settings {
        replication_factor: 3,
        min_insync_replicas: 2,
        append_timeout_ms: 5_000,
        ..settings(&addresses.join(","))
    };
    let log = Arc::new(open(&settings, SHARDS).await);
    let heard = Heard::by(&log);
    // While more than five records of a partition wait for an answer, the library's threads turn without a pause, and three
    // brokers on the same two cores answer the later for it: so few that a stall of a second is none.
    let writer = Writer::start(&log, 40);
    eventually("the first reports", || heard.kept() > 100).await;
    brokers[1].kill().await;
    let lost = heard.kept();
    eventually("the next reports", || heard.kept() > lost + 200).await;
    let count = writer.stop().await;
    eventually("all reports", || heard.count() as u64 >= count).await;
    let reports = heard.take(0).await;
    judge::judge(&log, SHARDS, count, &reports).await;
    let last = &reports.last().unwrap().1;
    assert!(last.outcome.is_ok(), "two of three do not go on: {last:?}");
}

const CHILD: &str = "ROOKERY_TEST_KAFKA_CHILD";

/// What this binary does when the test below starts it again: appends until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_killed() {
    let Ok(topic) = std::env::var(CHILD) else { return };
    // What a slow broker does not answer in time would be a hole that nobody's death has made.
    let settings = Settings {
        group: format!("{topic}-group"),
        topic,
        append_timeout_ms: 9_000,
        ..settings(&support::kafka())
    };
    let log = open(&settings, SHARDS).await;
    let _heard = Heard::by(&log);
    judge::append(&log, SHARDS, 5_000, &AtomicBool::new(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_in_the_middle_leaves_whole_records_in_order_and_others_go_on() {
    let settings = settings(&support::kafka());
    let log = open(&settings, SHARDS).await;
    let heard = Heard::by(&log);
    log.follow(&[A]);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["kafka::faults::a_writer_that_is_killed", "--exact", "--nocapture"])
        .env(CHILD, &settings.topic)
        .stdout(Stdio::null())
        .spawn();
    let mut child = child.unwrap();
    eventually("its records", || heard.end(A).is_some_and(|end| end > 500)).await;
    child.kill().unwrap();
    child.wait().unwrap();

    let before = judge::everything(&log, SHARDS).await;
    for (shard, tokens) in &before {
        let expected = (0..).map(|turn| turn * u64::from(SHARDS) + u64::from(*shard));
        assert!(
            tokens.iter().copied().eq(expected.take(tokens.len())),
            "shard {shard} has a hole"
        );
    }
    let end = log.end(A).await.expect("end");
    log.append(A, payload(7), 7);
    let report = tokio::time::timeout(PATIENCE, heard.take(1)).await.unwrap().remove(0).1;
    assert_eq!(report.outcome.unwrap(), end);
}
