//! The clock that logins go by: Redis', which all nodes ask, and between two answers the machine's monotonic one. So it is the same
//! everywhere within milliseconds, goes on while Redis is away, and takes no notice when a machine's wall clock jumps.

use std::time::{Duration, Instant};

use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use rookery_actors::time::{Reading, Timestamp};
use rookery_cluster::primary::Fault;

use super::store::Store;

/// An answer that took longer says too little of when it was given.
const PROMPT: Duration = Duration::from_millis(500);
/// By so much the machine's own clock may be off before somebody is told: below it nothing depends on it.
const NOTICED_MS: i64 = 5_000;

/// A clock that is set again and again.
pub struct Clock {
    set: Mutex<Set>,
    offset: Gauge,
}

/// What Redis' clock showed when, and whether the machine's is known to be off.
#[derive(Clone, Copy)]
struct Set {
    reading: Reading,
    is_off: bool,
}

/// What became of the machine's own clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Off,
    Right,
}

impl Default for Clock {
    /// Until it is set it shows what the machine's own does.
    fn default() -> Self {
        Self {
            set: Mutex::new(Set {
                reading: Reading {
                    at: Instant::now(),
                    time: Timestamp::now(),
                },
                is_off: false,
            }),
            offset: gauge!("node_clock_offset_seconds"),
        }
    }
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        self.set.lock().reading.by(Instant::now())
    }

    /// Asks Redis what time it is; says so when the machine's clock shows another.
    pub async fn set_by(&self, store: &Store) -> Result<(), Fault> {
        let asked = Instant::now();
        let told = store.time().await?;
        let heard = Instant::now();
        let (change, ahead) = {
            let mut set = self.set.lock();
            set.hear(asked, told, heard);
            set.compare(Timestamp::now(), heard)
        };
        let ahead_seconds = ahead as f64 / 1000.0;
        self.offset.set(ahead_seconds);
        match change {
            Some(Change::Off) => tracing::warn!(
                ahead_seconds,
                "the clock of this machine is not Redis'; set it right: the times of messages go by it"
            ),
            Some(Change::Right) => tracing::info!("the clock of this machine is right again"),
            None => {}
        }
        Ok(())
    }
}

impl Set {
    /// Takes an answer, which was given somewhere between being asked for and being heard.
    fn hear(&mut self, asked: Instant, told: Timestamp, heard: Instant) {
        let took = heard.saturating_duration_since(asked);
        if took <= PROMPT {
            let at = asked + took / 2;
            self.reading = Reading { at, time: told };
        }
    }

    /// By how many milliseconds the machine's clock is ahead, and whether that is news.
    fn compare(&mut self, own: Timestamp, now: Instant) -> (Option<Change>, i64) {
        let ahead = own.0.saturating_sub(self.reading.by(now).0);
        let is_off = ahead.saturating_abs() >= NOTICED_MS;
        let change = match (std::mem::replace(&mut self.is_off, is_off), is_off) {
            (false, true) => Some(Change::Off),
            (true, false) => Some(Change::Right),
            _ => None,
        };
        (change, ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn later(milliseconds: i64) -> Timestamp {
        Timestamp(NOW.0 + milliseconds)
    }

    fn set() -> (Set, Instant) {
        let at = Instant::now();
        let set = Set {
            reading: Reading { at, time: NOW },
            is_off: false,
        };
        (set, at)
    }

    #[test]
    fn it_goes_on_by_itself_and_is_set_by_prompt_answers() {
        let (mut set, begin) = set();
        let after = |milliseconds| begin + Duration::from_millis(milliseconds);
        assert_eq!(set.reading.by(after(250)), later(250));
        set.hear(after(1_000), later(61_000), after(1_100));
        assert_eq!(set.reading.by(after(1_050)), later(61_000), "given half way");
        assert_eq!(set.reading.by(after(2_050)), later(62_000));
        set.hear(after(3_000), NOW, after(3_501));
        assert_eq!(set.reading.by(after(4_050)), later(64_000), "that answer was slow");
    }

    #[test]
    fn a_machine_whose_clock_is_off_is_told_of_once() {
        let (mut set, begin) = set();
        assert_eq!(set.compare(later(4_999), begin), (None, 4_999));
        assert_eq!(set.compare(later(3_600_000), begin), (Some(Change::Off), 3_600_000));
        assert_eq!(set.compare(later(3_600_000), begin), (None, 3_600_000));
        assert_eq!(set.compare(later(-600_000), begin), (None, -600_000));
        assert_eq!(set.compare(NOW, begin), (Some(Change::Right), 0));
    }
}
