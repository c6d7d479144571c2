//! Contract suite of [`EventLog`].

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_cluster::id::ShardId;
use tokio::sync::Notify;

use crate::ports::PortError;
use crate::ports::log::{EventLog, Offset, Record, Report, Reports};

type Port = Arc<dyn EventLog>;

/// Longer than any commit takes.
const PATIENCE: Duration = Duration::from_secs(60);
const A: ShardId = ShardId(0);
const B: ShardId = ShardId(3);

/// Runs the whole suite. `fresh` opens an empty log of at least four shards; `reopened` closes the log it is given and opens
/// the same once more, as a restart would.
pub async fn suite(fresh: impl AsyncFn() -> Port, reopened: impl AsyncFn(Port) -> Port) {
    a_new_log_is_empty(fresh().await).await;
    records_stand_in_the_order_of_appends(fresh().await).await;
    senders_at_once_keep_their_own_order(fresh().await).await;
    a_read_is_bounded_and_without_holes(fresh().await).await;
    who_hears_of_a_record_can_read_it(fresh().await).await;
    payloads_come_back_as_they_were(fresh().await).await;
    committed_positions_never_go_back(fresh().await).await;
    a_commit_touches_its_own_shard_alone(fresh().await, &reopened).await;
    everything_survives_a_restart(fresh().await, &reopened).await;
    an_offset_is_never_given_twice(fresh().await, &reopened).await;
    what_waits_at_the_end_is_reported(fresh().await, &reopened).await;
    a_flood_is_refused_and_each_append_reported_once(fresh().await).await;
}

/// Takes reports and lets a test wait for them.
#[derive(Default)]
pub struct Taken {
    reports: Mutex<BTreeMap<u16, Vec<Report>>>,
    came: Notify,
}

impl Reports for Taken {
    fn appended(&self, shard: ShardId, reports: Vec<Report>) {
        self.reports.lock().entry(shard.0).or_default().extend(reports);
        self.came.notify_one();
    }
}

impl Taken {
    fn count(&self) -> usize {
        self.reports.lock().values().map(Vec::len).sum()
    }

    /// Waits until so many reports came, and takes them, by shard.
    pub async fn take(&self, count: usize) -> BTreeMap<u16, Vec<Report>> {
        let all = async {
            while self.count() < count {
                self.came.notified().await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, all).await;
        assert!(came.is_ok(), "{} of {count} reports came", self.count());
        assert_eq!(self.count(), count, "an append was reported twice");
        std::mem::take(&mut *self.reports.lock())
    }
}

fn started(log: &Port) -> Arc<Taken> {
    let taken = Arc::new(Taken::default());
    log.start(taken.clone());
    taken
}

/// Appends and waits; answers where the record stands.
async fn put(log: &Port, taken: &Taken, shard: ShardId, payload: &'static str) -> Offset {
    log.append(shard, Bytes::from_static(payload.as_bytes()), 1);
    let reports = taken.take(1).await.remove(&shard.0).expect("a report of that shard");
    reports[0].outcome.clone().expect("appended")
}

async fn read(log: &Port, shard: ShardId, from: Offset, max: usize) -> Vec<Record> {
    log.read(shard, from, max).await.expect("read")
}

async fn texts(log: &Port, shard: ShardId, from: Offset) -> Vec<String> {
    let records = read(log, shard, from, 1000).await;
    let text = |record: &Record| String::from_utf8(record.payload.to_vec()).expect("text");
    records.iter().map(text).collect()
}

/// Tokens in the order of their offsets, which must be contiguous from `first` on and reported in order.
fn tokens(reports: &[Report], first: Offset) -> Vec<u64> {
    let accepted = reports.iter().filter(|report| report.outcome.is_ok());
    for (report, offset) in accepted.clone().zip(first..) {
        assert_eq!(report.outcome.as_ref().ok(), Some(&offset));
    }
    accepted.map(|report| report.token).collect()
}

async fn a_new_log_is_empty(log: Port) {
    let shards = usize::from(log.shards());
    assert!(shards >= 4, "the suite wants four shards");
    assert_eq!(log.ends().await.expect("ends"), vec![0; shards]);
    assert_eq!(log.end(A).await.expect("end"), 0);
    assert_eq!(log.committed().await.expect("committed"), vec![0; shards]);
    assert!(read(&log, A, 0, 10).await.is_empty());
}

async fn records_stand_in_the_order_of_appends(log: Port) {
    let taken = started(&log);
    for token in 0..1000_u64 {
        let shard = ShardId((token % 4) as u16);
        log.append(shard, Bytes::from(token.to_string()), token);
        if token % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for (shard, reports) in taken.take(1000).await {
        let expected: Vec<u64> = (0..1000).filter(|token| token % 4 == u64::from(shard)).collect();
        assert_eq!(tokens(&reports, 0), expected);
        let stands = texts(&log, ShardId(shard), 0).await;
        let appended: Vec<String> = expected.iter().map(u64::to_string).collect();
        assert_eq!(stands, appended);
    }
    assert_eq!(log.ends().await.expect("ends")[..4], [250; 4]);
}

async fn senders_at_once_keep_their_own_order(log: Port) {
    const SENDERS: u64 = 4;
    const EACH: u64 = 500;
    let taken = started(&log);
    let send = |sender: u64| {
        let log = Arc::clone(&log);
        std::thread::spawn(move || {
            for number in 0..EACH {
                log.append(B, Bytes::from(vec![sender as u8; 20]), sender * EACH + number);
            }
        })
    };
    let senders: Vec<_> = (0..SENDERS).map(send).collect();
    for sender in senders {
        sender.join().expect("a sender ends");
    }
    let reports = taken
        .take((SENDERS * EACH) as usize)
        .await
        .remove(&B.0)
        .expect("reports");
    let tokens = tokens(&reports, 0);
    for sender in 0..SENDERS {
        let own = tokens.iter().filter(|token| **token / EACH == sender).copied();
        assert!(
            own.eq(sender * EACH..(sender + 1) * EACH),
            "sender {sender} was reordered"
        );
    }
    let stands = read(&log, B, 0, usize::MAX).await;
    let agree = |(record, token): (&Record, &u64)| record.payload[0] == (token / EACH) as u8;
    assert!(
        stands.iter().zip(&tokens).all(agree),
        "a report names another record's place"
    );
}

async fn a_read_is_bounded_and_without_holes(log: Port) {
    let taken = started(&log);
    for token in 0..10 {
        log.append(A, Bytes::from(vec![token as u8]), token);
        taken.take(1).await;
    }
    let offsets = |records: Vec<Record>| records.iter().map(|record| record.offset).collect::<Vec<_>>();
    assert_eq!(offsets(read(&log, A, 0, 3).await), [0, 1, 2]);
    assert_eq!(offsets(read(&log, A, 4, 4).await), [4, 5, 6, 7]);
    assert_eq!(offsets(read(&log, A, 8, 100).await), [8, 9]);
    assert!(read(&log, A, 0, 0).await.is_empty());
    assert!(read(&log, A, 10, 5).await.is_empty());
    assert!(read(&log, A, 4711, 5).await.is_empty());
    assert!(read(&log, B, 0, 5).await.is_empty());
}

async fn who_hears_of_a_record_can_read_it(log: Port) {
    let taken = started(&log);
    for expected in 0..30 {
        let offset = put(&log, &taken, B, "x").await;
        assert_eq!(offset, expected);
        assert_eq!(read(&log, B, offset, 1).await.len(), 1);
        assert_eq!(log.ends().await.expect("ends")[usize::from(B.0)], offset + 1);
        assert_eq!(log.end(B).await.expect("end"), offset + 1);
    }
}

async fn payloads_come_back_as_they_were(log: Port) {
    let taken = started(&log);
    let payloads = [vec![], vec![0], vec![0xff; 200_000], b"\0\r\n{}".to_vec()];
    for payload in &payloads {
        log.append(A, Bytes::from(payload.clone()), 0);
    }
    taken.take(payloads.len()).await;
    let stands = read(&log, A, 0, 10).await;
    assert!(
        stands
            .iter()
            .map(|record| &record.payload[..])
            .eq(payloads.iter().map(|payload| &payload[..]))
    );
}

async fn committed_positions_never_go_back(log: Port) {
    let taken = started(&log);
    for _ in 0..5 {
        put(&log, &taken, A, "x").await;
    }
    for (position, stands) in [(3, 3), (1, 3), (0, 3), (5, 5), (3, 5)] {
        log.commit(vec![(A, position)]).await.expect("commit");
        assert_eq!(log.committed().await.expect("committed")[0], stands);
    }
    log.commit(vec![]).await.expect("commit nothing");
    assert_eq!(put(&log, &taken, A, "x").await, 5);
}

async fn a_commit_touches_its_own_shard_alone(log: Port, reopened: impl AsyncFn(Port) -> Port) {
    let taken = started(&log);
    // In one batch if the log makes batches, so that a batch is needed by one shard and not by the other.
    for token in 0..20 {
        let shard = if token % 2 == 0 { A } else { B };
        log.append(shard, Bytes::from(token.to_string()), token);
    }
    taken.take(20).await;
    log.commit(vec![(A, 10), (B, 4)]).await.expect("commit");
    log.commit(vec![(A, 10)]).await.expect("commit once more");
    let log = reopened(log).await;
    assert_eq!(texts(&log, B, 4).await, ["9", "11", "13", "15", "17", "19"]);
    assert!(texts(&log, A, 10).await.is_empty());
    assert_discarded_or_whole(&log, A).await;
    assert_discarded_or_whole(&log, B).await;
}

/// From the start a shard is either read whole or refused: never from somewhere later on.
async fn assert_discarded_or_whole(log: &Port, shard: ShardId) {
    match log.read(shard, 0, 1).await {
        Ok(records) => assert_eq!(records.first().map(|record| record.offset), Some(0)),
        Err(error) => assert!(matches!(error, PortError::Broken(_)), "{error}"),
    }
}

async fn everything_survives_a_restart(log: Port, reopened: impl AsyncFn(Port) -> Port) {
    let taken = started(&log);
    for text in ["one", "two", "three", "four"] {
        put(&log, &taken, A, text).await;
    }
    put(&log, &taken, B, "other").await;
    log.commit(vec![(A, 2)]).await.expect("commit");
    let (ends, committed) = (
        log.ends().await.expect("ends"),
        log.committed().await.expect("committed"),
    );
    let log = reopened(log).await;
    assert_eq!(log.ends().await.expect("ends"), ends);
    assert_eq!(log.committed().await.expect("committed"), committed);
    assert_eq!(texts(&log, A, 2).await, ["three", "four"]);
    assert_eq!(texts(&log, B, 0).await, ["other"]);
}

async fn an_offset_is_never_given_twice(log: Port, reopened: impl AsyncFn(Port) -> Port) {
    let mut log = log;
    let mut given = HashSet::new();
    for round in 0..4 {
        let taken = started(&log);
        for _ in 0..3 {
            assert!(given.insert(put(&log, &taken, A, "x").await), "given twice");
        }
        let end = log.ends().await.expect("ends")[0];
        log.commit(vec![(A, end)]).await.expect("commit");
        log.commit(vec![(A, end)]).await.expect("commit once more");
        // Once with nothing appended in between, so that all there was is discarded.
        for _ in 0..=round % 2 {
            log = reopened(log).await;
            assert_eq!(log.ends().await.expect("ends")[0], end);
        }
    }
    assert_eq!(given.len(), 12);
}

async fn what_waits_at_the_end_is_reported(log: Port, reopened: impl AsyncFn(Port) -> Port) {
    let taken = started(&log);
    for token in 0..500 {
        log.append(A, Bytes::from_static(b"late"), token);
    }
    let log = reopened(log).await;
    let reports = taken.take(500).await.remove(&A.0).expect("reports");
    let kept = tokens(&reports, 0).len();
    assert_eq!(read(&log, A, 0, 1000).await.len(), kept);
}

async fn a_flood_is_refused_and_each_append_reported_once(log: Port) {
    const FLOOD: u64 = 150_000;
    let taken = started(&log);
    let payload = Bytes::from(vec![7; 200]);
    for token in 0..FLOOD {
        log.append(ShardId((token % 4) as u16), payload.clone(), token);
    }
    let mut seen = HashSet::new();
    for (shard, mut reports) in taken.take(FLOOD as usize).await {
        assert!(reports.iter().all(|report| seen.insert(report.token)), "reported twice");
        let fits = |report: &Report| matches!(report.outcome, Ok(_) | Err(PortError::Unavailable(_)));
        assert!(reports.iter().all(fits), "a refusal of another kind");
        reports.retain(|report| report.outcome.is_ok());
        let tokens = tokens(&reports, 0);
        assert!(tokens.is_sorted(), "the order of appends was not kept");
        assert_eq!(log.ends().await.expect("ends")[usize::from(shard)], tokens.len() as u64);
    }
    put(&log, &taken, A, "it goes on").await;
}
