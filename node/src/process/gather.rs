//! Lets events gather before a worker thread looks for them again: what a network card's driver knows as interrupt moderation.
//!
//! A lone event costs a wake-up of the thread, a switch of contexts and cold caches, several times what it takes to serve it.
//! Where events follow one another closely, a worker that has run dry therefore sleeps for one turn, and serves together what
//! has come meanwhile. Where they do not, it waits for the next one as ever, so that nobody waits for company that does not
//! come; and a worker with more to do than a turn holds never runs dry.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The weight of what was before in the mean, in parts of one more.
const PAST: u32 = 7;
/// More than this between two turns says no more than this: a mean that remembered a long pause would be slow to see the end of it.
const LONGEST: u32 = 4;

/// One worker's measure. A pure rule: it is told the time, and never sleeps.
#[derive(Clone, Copy, Debug)]
struct Pace {
    turn: Duration,
    /// The mean time from the end of a turn until the thread has served what came and is dry again.
    gap: Duration,
    since: Option<Instant>,
}

impl Pace {
    fn new(turn: Duration) -> Self {
        Self {
            turn,
            gap: turn * LONGEST,
            since: None,
        }
    }

    /// The worker is dry: whether it sleeps for a turn before it waits for events.
    fn is_gathering(&mut self, now: Instant) -> bool {
        if let Some(since) = self.since {
            let gap = now.duration_since(since).min(self.turn * LONGEST);
            self.gap = (self.gap * PAST + gap) / (PAST + 1);
        }
        // Two or more are to meet in a turn, or it is not worth the wait.
        self.gap < self.turn / 2
    }

    /// The worker waits for events from now on.
    fn wait(&mut self, now: Instant) {
        self.since = Some(now);
    }
}

/// What a worker thread does each time it has run dry.
pub fn gather(turn: Duration) {
    thread_local! {
        static PACE: Cell<Option<Pace>> = const { Cell::new(None) };
    }
    PACE.with(|cell| {
        let mut pace = cell.get().unwrap_or_else(|| Pace::new(turn));
        let now = Instant::now();
        let after = if pace.is_gathering(now) {
            std::thread::sleep(turn);
            Instant::now()
        } else {
            now
        };
        pace.wait(after);
        cell.set(Some(pace));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(1);
    const SERVED: Duration = Duration::from_micros(50);

    /// How many of the last hundred turns were slept through, with an event every `gap`.
    fn gathered(gap: Duration) -> usize {
        let start = Instant::now();
        let (mut pace, mut now, mut gathered) = (Pace::new(TURN), start, 0);
        for round in 0..1_000 {
            let slept = pace.is_gathering(now);
            gathered += usize::from(slept && round >= 900);
            let dry = now;
            now += if slept { TURN } else { Duration::ZERO };
            pace.wait(now);
            // The next event, unless one came while it slept.
            let past = dry.duration_since(start).as_nanos() / gap.as_nanos();
            let next = start + gap * u32::try_from(past + 1).unwrap();
            now = now.max(next) + SERVED;
        }
        gathered
    }

    #[test]
    fn only_events_that_come_close_together_are_waited_for() {
        assert_eq!(gathered(Duration::from_millis(50)), 0);
        assert_eq!(gathered(Duration::from_millis(2)), 0);
        assert_eq!(gathered(Duration::from_micros(400)), 100);
        assert_eq!(gathered(Duration::from_micros(100)), 100);
    }

    #[test]
    fn a_worker_that_is_busy_anyway_does_not_sleep() {
        let (mut pace, mut now) = (Pace::new(TURN), Instant::now());
        for _ in 0..1_000 {
            pace.wait(now);
            now += TURN;
            assert!(!pace.is_gathering(now));
        }
    }

    #[test]
    fn a_long_silence_is_forgotten_within_a_few_events() {
        let (mut pace, mut now) = (Pace::new(TURN), Instant::now());
        pace.wait(now);
        now += Duration::from_secs(3_600);
        pace.is_gathering(now);
        let events = (1..).find(|_| {
            pace.wait(now);
            now += SERVED;
            pace.is_gathering(now)
        });
        assert!(events.unwrap() <= 20, "{events:?}");
    }
}
