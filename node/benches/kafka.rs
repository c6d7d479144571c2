//! What an append to Kafka costs this process, and how long its report takes: over 256 shards at the rates of the goals, then
//! as fast as it goes. Wants a broker: `ROOKERY_TEST_KAFKA=host:port cargo bench -p rookery-node --bench kafka [-- LINGER_MS]`.
//!
//! The CPU is that of all threads of this process, by the kernel's own count; the broker's is not in it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_actors::ports::log::{EventLog, Report, Reports};
use rookery_cluster::id::ShardId;
use rookery_node::adapters::kafka::{KafkaLog, Settings};

const SHARDS: u16 = 256;
const BROKER: &str = "ROOKERY_TEST_KAFKA";

/// Takes the time of each report.
struct Timed {
    began: Instant,
    reported: AtomicU64,
    refused: AtomicU64,
    micros: Mutex<Vec<u32>>,
}

impl Timed {
    fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }
}

impl Reports for Timed {
    fn appended(&self, _: ShardId, reports: Vec<Report>) {
        let now = self.now();
        for report in &reports {
            match report.outcome {
                Ok(_) => self.micros.lock().push((now - report.token) as u32),
                Err(_) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
            }
        }
        self.reported.fetch_add(reports.len() as u64, Ordering::Release);
    }
}

/// CPU time in nanoseconds by thread name.
fn cpu() -> BTreeMap<String, u64> {
    let mut by_name = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").expect("Linux").flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let nanos = read("schedstat").split(' ').next().and_then(|first| first.parse().ok());
        *by_name.entry(read("comm").trim().to_owned()).or_default() += nanos.unwrap_or(0_u64);
    }
    by_name
}

/// Appends at a rate, or as fast as it goes with so many under way, and prints one line.
fn run(log: &KafkaLog, timed: &Timed, rate: Option<u64>, seconds: u64) {
    const UNDER_WAY: u64 = 5_000;
    let payload = Bytes::from(vec![7; 300]);
    let (before, first, began) = (cpu(), timed.reported.load(Ordering::Acquire), Instant::now());
    let mut sent = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        let due = match rate {
            Some(rate) => began.elapsed().as_micros() as u64 * rate / 1_000_000,
            None => timed.reported.load(Ordering::Acquire) - first + UNDER_WAY,
        };
        while sent < due {
            // Scattered as conversations are.
            let shard = ((sent * 2_654_435_761) >> 7) % u64::from(SHARDS);
            log.append(ShardId(shard as u16), payload.clone(), timed.now());
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(rate.map_or(500, |rate| 1_000_000 / rate)));
    }
    while timed.reported.load(Ordering::Acquire) - first < sent {
        std::thread::sleep(Duration::from_millis(1));
    }
    let elapsed = began.elapsed().as_secs_f64();
    print_line(timed, &before, rate, sent, elapsed);
}

fn print_line(timed: &Timed, before: &BTreeMap<String, u64>, rate: Option<u64>, sent: u64, elapsed: f64) {
    let mut micros = std::mem::take(&mut *timed.micros.lock());
    micros.sort_unstable();
    let at = |part: f64| micros.get((micros.len() as f64 * part) as usize).copied().unwrap_or(0);
    let refused = timed.refused.swap(0, Ordering::Relaxed);
    let each = |nanos: u64| nanos as f64 / 1000.0 / sent as f64;
    let after = cpu();
    let spent = |(name, nanos): (&String, &u64)| {
        (
            each(nanos.saturating_sub(*before.get(name).unwrap_or(&0))),
            name.clone(),
        )
    };
    let mut threads: Vec<_> = after.iter().map(spent).filter(|(micros, _)| *micros > 0.05).collect();
    threads.sort_by(|one, other| other.0.total_cmp(&one.0));
    let all: f64 = threads.iter().map(|(micros, _)| micros).sum();
    let rate = rate.map_or("full rate".into(), |rate| format!("{rate}/s"));
    println!(
        "{rate}: {:.0}/s, {refused} refused, report p50 {} us, p99 {} us, cpu {all:.1} us an append",
        sent as f64 / elapsed,
        at(0.5),
        at(0.99),
    );
    for (micros, name) in threads {
        println!("    {name:16} {micros:.1}");
    }
}

fn main() {
    let Ok(brokers) = std::env::var(BROKER) else {
        println!("{BROKER} is not set: nothing measured");
        return;
    };
    let linger = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    let topic = format!("bench-{}", uuid::Uuid::now_v7().simple());
    let settings = Settings {
        brokers,
        group: topic.clone(),
        topic,
        replication_factor: 1,
        min_insync_replicas: 1,
        linger_ms: linger.unwrap_or(Settings::default().linger_ms),
        ..Settings::default()
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let opened = runtime.block_on(KafkaLog::open(&settings, SHARDS, Duration::from_secs(30)));
    let log = opened.expect("the log opens");
    let timed = Arc::new(Timed {
        began: Instant::now(),
        reported: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        micros: Mutex::default(),
    });
    log.start(timed.clone());
    let shards: Vec<ShardId> = (0..SHARDS).map(ShardId).collect();
    log.follow(&shards);
    println!("linger {} ms", settings.linger_ms);
    run(&log, &timed, None, 3);
    for rate in [500, 2_000] {
        run(&log, &timed, Some(rate), 10);
    }
    run(&log, &timed, None, 10);
}
