//! Appends over 256 shards: alone, paced, and as many as go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_actors::ports::log::{EventLog, Offset, Report, Reports};
use rookery_cluster::id::ShardId;
use rookery_node::adapters::sqlite::SqliteLog;

use super::meter::{Meter, percentiles};

const SHARDS: u16 = 256;
const RECORD: usize = 300;
/// Records under way at most when as many as go are sent.
const WINDOW: u64 = 8_192;
/// How often committed positions are saved, as projections do it.
const COMMIT_EVERY: Duration = Duration::from_millis(200);

struct Counted {
    began: Instant,
    settled: AtomicU64,
    ends: Mutex<Vec<Offset>>,
    latencies: Mutex<Vec<Duration>>,
}

impl Reports for Counted {
    fn appended(&self, shard: ShardId, reports: Vec<Report>) {
        let now = self.began.elapsed();
        let mut latencies = self.latencies.lock();
        for report in &reports {
            let offset = report.outcome.as_ref().expect("appended");
            self.ends.lock()[usize::from(shard.0)] = offset + 1;
            // Tokens are the nanoseconds at which the append was due.
            latencies.push(now.saturating_sub(Duration::from_nanos(report.token)));
        }
        self.settled.fetch_add(reports.len() as u64, Ordering::Release);
    }
}

pub async fn run() {
    lone().await;
    for rate in [2_000, 30_000] {
        paced(rate).await;
    }
    flood().await;
}

struct Bench {
    _dir: tempfile::TempDir,
    log: Arc<SqliteLog>,
    counted: Arc<Counted>,
    payload: Bytes,
    sent: u64,
    committed: Instant,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = SqliteLog::open(&dir.path().join("log.db"), SHARDS).expect("the log opens");
        let counted = Arc::new(Counted {
            began: Instant::now(),
            settled: AtomicU64::new(0),
            ends: Mutex::new(vec![0; usize::from(SHARDS)]),
            latencies: Mutex::default(),
        });
        log.start(counted.clone());
        Self {
            _dir: dir,
            log: Arc::new(log),
            counted,
            payload: vec![b'x'; RECORD].into(),
            sent: 0,
            committed: Instant::now(),
        }
    }

    fn append(&mut self, due: Duration) {
        // A step that visits all shards out of order, as ids do.
        let shard = ShardId((self.sent * 97 % u64::from(SHARDS)) as u16);
        self.log.append(shard, self.payload.clone(), due.as_nanos() as u64);
        self.sent += 1;
    }

    fn waiting(&self) -> u64 {
        self.sent - self.counted.settled.load(Ordering::Acquire)
    }

    async fn commit_if_due(&mut self) {
        if self.committed.elapsed() >= COMMIT_EVERY {
            self.committed = Instant::now();
            let ends = self.counted.ends.lock().clone();
            let positions = ends.into_iter().zip(0..).map(|(end, shard)| (ShardId(shard), end));
            self.log.commit(positions.collect()).await.expect("commit");
        }
    }

    async fn settle(&self) {
        while self.waiting() > 0 {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}

/// One at a time: what a message waits for its fsync when nothing else goes on.
async fn lone() {
    let mut bench = Bench::new();
    let meter = Meter::start();
    for _ in 0..2_000 {
        bench.append(bench.counted.began.elapsed());
        while bench.waiting() > 0 {
            std::thread::yield_now();
        }
    }
    meter.print("append, one at a time (CPU with the waiting)", "records", bench.sent);
    percentiles("  latency", &mut bench.counted.latencies.lock());
}

/// An open loop at a rate.
async fn paced(rate: u64) {
    let mut bench = Bench::new();
    let (meter, began) = (Meter::start(), bench.counted.began);
    let total = rate * 4;
    while bench.sent < total {
        let due = Duration::from_nanos(bench.sent * 1_000_000_000 / rate);
        if due > began.elapsed() {
            bench.commit_if_due().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            bench.append(due);
        }
    }
    bench.settle().await;
    meter.print(&format!("append, {rate} a second"), "records", total);
    percentiles(
        "  latency, with up to 1 ms of the sender's timer",
        &mut bench.counted.latencies.lock(),
    );
}

/// As many as go.
async fn flood() {
    let mut bench = Bench::new();
    let meter = Meter::start();
    while bench.sent < 1_000_000 {
        for _ in 0..64 {
            bench.append(bench.counted.began.elapsed());
        }
        bench.commit_if_due().await;
        while bench.waiting() > WINDOW {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
    bench.settle().await;
    meter.print("append, as many as go", "records", bench.sent);
    percentiles("  latency", &mut bench.counted.latencies.lock());
}
