//! How much of the machine is there for the tests: a thread that works a little at all times notes how long it waits for a core.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// It works so long,
const WORK: Duration = Duration::from_millis(2);
/// and then sleeps so long.
const SLEEP: Duration = Duration::from_millis(40);
/// Turns of which the mean is taken: about two seconds where nobody waits.
const WINDOW: usize = 48;

/// A running probe.
pub struct Starvation {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<f64>,
}

impl Starvation {
    pub fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || worst_stretch(&stopped));
        Self { stop, thread }
    }

    /// How many times as long as it needs a piece of work took, in the worst of the time: 1 where nobody waits for a core.
    pub fn end(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn worst_stretch(stopped: &AtomicBool) -> f64 {
    let mut worst: f64 = 1.0;
    let mut turns = VecDeque::new();
    while !stopped.load(Ordering::Relaxed) {
        turns.push_back(turn());
        if turns.len() > WINDOW {
            turns.pop_front();
        }
        let (worked, waited) = turns
            .iter()
            .fold((0.0, 0.0), |sum, turn| (sum.0 + turn.0, sum.1 + turn.1));
        if turns.len() == WINDOW {
            worst = worst.max((worked + waited) / worked);
        }
    }
    worst
}

/// Sleeps and works; answers how many seconds it worked and how many it was ready to but had no core.
fn turn() -> (f64, f64) {
    let before = waited();
    std::thread::sleep(SLEEP);
    let (began, at_begin) = (Instant::now(), waited());
    while began.elapsed() < WORK {
        std::hint::spin_loop();
    }
    let (took, now) = (began.elapsed(), waited());
    let worked = took.saturating_sub(now.saturating_sub(at_begin)).max(WORK / 4);
    (worked.as_secs_f64(), now.saturating_sub(before).as_secs_f64())
}

/// How long this thread has waited for a core so far, by the kernel's account.
fn waited() -> Duration {
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = account.split_whitespace().nth(1).and_then(|waited| waited.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}
