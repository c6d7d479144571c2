//! Doubt about a clock that may have jumped ahead, for what cannot be undone: what was forgotten too early does not come back when
//! the clock is right again. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rookery_actors::time::{Reading, Timestamp};

/// Believes a clock that jumped ahead only when it has stayed there for a while, and one that stepped back at once.
pub struct Doubt {
    /// How long that is.
    span: Duration,
    /// Oldest first; all but the first are younger than `span`.
    readings: VecDeque<Reading>,
}

impl Doubt {
    pub fn new(span: Duration) -> Self {
        Self {
            span,
            readings: VecDeque::new(),
        }
    }

    /// Takes a reading of the clock; answers what time it is at least: what the clock shows, or what it would if nobody had set
    /// it for `span`, whichever is earlier.
    pub fn least(&mut self, time: Timestamp, at: Instant) -> Timestamp {
        self.readings.push_back(Reading { at, time });
        let is_old = |reading: &Reading| at.saturating_duration_since(reading.at) >= self.span;
        while self.readings.get(1).is_some_and(is_old) {
            self.readings.pop_front();
        }
        self.readings.front().map_or(time, |reading| reading.by(at).min(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: u64 = 1_000;
    const HOUR: i64 = 3_600;

    /// What is believed when the clock is off by so many seconds, one after the other, 100 s apart: by how much that is off.
    fn believed(off: &[i64]) -> Vec<i64> {
        let (mut doubt, begin) = (Doubt::new(Duration::from_secs(SPAN)), Instant::now());
        let mut turn = |(turn, off): (usize, &i64)| {
            let passed = turn as u64 * 100;
            let right = 1_800_000_000 + passed as i64;
            let least = doubt.least(Timestamp((right + off) * 1000), begin + Duration::from_secs(passed));
            least.0 / 1000 - right
        };
        off.iter().enumerate().map(&mut turn).collect()
    }

    #[test]
    fn a_clock_that_goes_on_is_believed() {
        assert_eq!(believed(&[0; 30]), [0; 30]);
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_while_was_never_believed() {
        let off = [vec![0; 5], vec![HOUR; 9], vec![0; 30]].concat();
        assert_eq!(believed(&off), vec![0; off.len()]);
    }

    #[test]
    fn a_clock_that_stays_ahead_is_believed_in_the_end() {
        let off = [vec![0; 5], vec![HOUR; 30]].concat();
        let ahead = believed(&off).iter().position(|off| *off == HOUR);
        assert_eq!(ahead, Some(15), "that is the span after the jump");
    }

    #[test]
    fn a_clock_that_steps_back_is_believed_at_once() {
        assert_eq!(believed(&[0, 0, -HOUR, -HOUR, 0]), [0, 0, -HOUR, -HOUR, 0]);
    }
}
