//! Time and CPU of a piece of work.

use std::time::{Duration, Instant};

/// What the process had used when it was made.
pub struct Meter {
    began: Instant,
    cpu: Duration,
}

impl Meter {
    pub fn start() -> Self {
        Self {
            began: Instant::now(),
            cpu: cpu(),
        }
    }

    /// Prints what so many units cost since the start.
    pub fn print(&self, what: &str, unit: &str, units: u64) {
        let (wall, cpu) = (self.began.elapsed(), cpu() - self.cpu);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / units as f64;
        println!(
            "{what:<58} {:>9.0} {unit}/s {:>8.2} us wall {:>8.2} us CPU each",
            units as f64 / wall.as_secs_f64(),
            each(wall),
            each(cpu)
        );
    }
}

/// Prints percentiles of latencies.
pub fn percentiles(what: &str, latencies: &mut [Duration]) {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{what:<58} p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// CPU time of all threads that live.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let nanos = tasks.filter_map(Result::ok).filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
