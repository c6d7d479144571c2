//! When those who were refused come back: one after another, as fast as they can be taken. Were it all within a few seconds,
//! refusing a large fleet over and over would be all that the node does.

use std::time::{Duration, Instant};

/// Nobody is put off for longer.
const LATEST: Duration = Duration::from_secs(60);

#[derive(Default, Debug)]
pub struct Appointments {
    last: Option<Instant>,
}

impl Appointments {
    /// How long until the next free time, when `pace` a second can be taken.
    pub fn give(&mut self, pace: f64, now: Instant) -> Duration {
        let last = self.last.map_or(now, |last| last.max(now));
        let next = (last + Duration::from_secs_f64(1.0 / pace.max(1.0))).min(now + LATEST);
        self.last = Some(next);
        next - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_come_back_as_fast_as_they_can_be_taken() {
        let now = Instant::now();
        let mut appointments = Appointments::default();
        let hundredth = (0..100).map(|_| appointments.give(50.0, now)).last().unwrap();
        assert_eq!(hundredth.as_millis(), 2000);
        let later = now + Duration::from_secs(1);
        assert_eq!(appointments.give(50.0, later).as_millis(), 1020);
        let idle = now + Duration::from_secs(60);
        assert_eq!(appointments.give(50.0, idle).as_millis(), 20);
        let last = (0..10_000).map(|_| appointments.give(50.0, idle)).last();
        assert_eq!(last, Some(LATEST));
    }
}
