use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rookery_actors::ports::PortError;
use rookery_actors::ports::log::{EventLog, Report, Reports};
use rookery_cluster::id::ShardId;
use tempfile::TempDir;

use super::SqliteLog;

#[derive(Default)]
struct Collector {
    reports: Mutex<Vec<Report>>,
    came: Condvar,
}

impl Reports for Collector {
    fn appended(&self, _: ShardId, reports: Vec<Report>) {
        self.reports.lock().extend(reports);
        self.came.notify_all();
    }
}

impl Collector {
    /// Waits for so many reports and takes them.
    fn take(&self, count: usize) -> Vec<Report> {
        let mut reports = self.reports.lock();
        while reports.len() < count {
            let late = self.came.wait_for(&mut reports, Duration::from_secs(30)).timed_out();
            assert!(!late, "{} of {count} reports came", reports.len());
        }
        std::mem::take(&mut *reports)
    }
}

fn open(dir: &TempDir) -> (SqliteLog, Arc<Collector>) {
    let log = SqliteLog::open(&dir.path().join("log.db"), 4).unwrap();
    let collector = Arc::new(Collector::default());
    log.start(collector.clone());
    (log, collector)
}

fn limit_pages(log: &SqliteLog, pages: u32) {
    let file = log.shared.file.lock();
    let set = file
        .connection()
        .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()));
    set.unwrap();
}

const SHARD: ShardId = ShardId(2);

#[tokio::test]
async fn a_full_disk_refuses_appends_loses_nothing_and_ends() {
    let dir = TempDir::new().unwrap();
    let (log, collector) = open(&dir);
    log.append(SHARD, Bytes::from_static(b"kept"), 1);
    assert_eq!(collector.take(1)[0].outcome.clone().unwrap(), 0);

    limit_pages(&log, 20);
    log.append(SHARD, Bytes::from(vec![7; 500_000]), 2);
    let refused = collector.take(1).remove(0);
    assert!(matches!(refused.outcome, Err(PortError::Unavailable(_))), "{refused:?}");

    limit_pages(&log, 100_000);
    log.append(SHARD, Bytes::from(vec![8; 500_000]), 3);
    assert_eq!(collector.take(1)[0].outcome.clone().unwrap(), 1);
    drop(log);

    let (log, _) = open(&dir);
    let records = log.read(SHARD, 0, 10).await.unwrap();
    let first_bytes: Vec<_> = records.iter().map(|record| record.payload[0]).collect();
    assert_eq!(first_bytes, [b'k', 8]);
}

#[tokio::test]
async fn too_many_waiting_records_are_refused_at_once() {
    let dir = TempDir::new().unwrap();
    let (log, collector) = open(&dir);
    let size = 1024 * 1024;
    let held = log.shared.file.lock();
    // The writer can take one load and waits for the file then; a second load fills the queue.
    for token in 0..40 {
        log.append(SHARD, Bytes::from(vec![0; size]), token);
    }
    let refused = collector.take(8);
    assert!(
        refused
            .iter()
            .all(|report| matches!(report.outcome, Err(PortError::Unavailable(_)))),
        "{refused:?}"
    );
    drop(held);
    let rest = collector.take(40 - refused.len());
    assert!(rest.iter().all(|report| report.outcome.is_ok()));
}

#[tokio::test]
async fn a_record_beyond_the_bound_and_an_unknown_shard_are_errors() {
    let dir = TempDir::new().unwrap();
    let (log, collector) = open(&dir);
    log.append(SHARD, Bytes::from(vec![0; super::queue::MAX_RECORD + 1]), 1);
    log.append(ShardId(4), Bytes::new(), 2);
    let reports = collector.take(2);
    assert!(
        reports
            .iter()
            .all(|report| matches!(report.outcome, Err(PortError::Broken(_))))
    );
    assert!(log.read(ShardId(4), 0, 1).await.is_err());
    assert!(log.commit(vec![(ShardId(4), 0)]).await.is_err());
}

#[tokio::test]
async fn another_number_of_shards_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir));
    let error = SqliteLog::open(&dir.path().join("log.db"), 8).err().unwrap();
    assert!(error.to_string().contains("4 shards"), "{error}");
}

#[tokio::test]
async fn a_damaged_row_is_an_error_and_no_record() {
    let dir = TempDir::new().unwrap();
    let (log, collector) = open(&dir);
    log.append(SHARD, Bytes::from_static(b"payload"), 1);
    collector.take(1);
    let damage = "UPDATE batch SET body = replace(body, CAST('load' AS BLOB), CAST('loaf' AS BLOB))";
    log.shared.file.lock().connection().execute(damage, []).unwrap();
    assert!(matches!(log.read(SHARD, 0, 1).await, Err(PortError::Broken(_))));
    drop(log);
    assert!(SqliteLog::open(&dir.path().join("log.db"), 4).is_err());
}

#[tokio::test]
async fn committed_rows_are_deleted() {
    let dir = TempDir::new().unwrap();
    let (log, collector) = open(&dir);
    for token in 0..50 {
        log.append(SHARD, Bytes::from_static(b"x"), token);
        collector.take(1);
    }
    log.commit(vec![(SHARD, 50)]).await.unwrap();
    // What became free goes with the next commit of positions.
    log.commit(vec![(SHARD, 50)]).await.unwrap();
    let count = |log: &SqliteLog| -> i64 {
        let file = log.shared.file.lock();
        file.connection()
            .query_row("SELECT count(*) FROM batch", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(count(&log), 0);
}

#[tokio::test]
async fn a_burst_becomes_rows_of_bounded_size() {
    let dir = TempDir::new().unwrap();
    let (log, collector) = open(&dir);
    let held = log.shared.file.lock();
    for token in 0..400 {
        log.append(
            ShardId((token % 4) as u16),
            Bytes::from(vec![token as u8; 30_000]),
            token,
        );
    }
    drop(held);
    assert!(collector.take(400).iter().all(|report| report.outcome.is_ok()));
    for shard in 0..4 {
        let records = log.read(ShardId(shard), 0, 1000).await.unwrap();
        let tokens: Vec<u8> = records.iter().map(|record| record.payload[0]).collect();
        let expected: Vec<u8> = (0..400)
            .filter(|token| token % 4 == shard)
            .map(|token| token as u8)
            .collect();
        assert_eq!(tokens, expected);
    }
}

#[tokio::test]
async fn a_receiver_that_panics_does_not_end_the_log() {
    struct Panics;
    impl Reports for Panics {
        fn appended(&self, _: ShardId, _: Vec<Report>) {
            panic!("on purpose");
        }
    }
    let dir = TempDir::new().unwrap();
    let (log, collector) = open(&dir);
    log.start(Arc::new(Panics));
    log.append(SHARD, Bytes::from_static(b"x"), 1);
    log.commit(vec![]).await.unwrap();
    log.start(collector.clone());
    log.append(SHARD, Bytes::from_static(b"y"), 2);
    assert_eq!(collector.take(1)[0].outcome.clone().unwrap(), 1);
}
