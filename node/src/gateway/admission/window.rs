//! How many sockets may be on their way to their sessions at once.
//!
//! A fleet that connects faster than the cluster attaches would make every attachment so late that its client has given up by
//! then, and none would ever be done. So what attaching takes says how many may try: the window shrinks by a share when one
//! was slow or failed, once for all that were under way then, and grows by a little when one was quick: additive increase,
//! multiplicative decrease, as TCP's congestion avoidance has it (RFC 5681, section 3.1).

use std::time::{Duration, Instant};

/// An attachment that took longer says that there are too many.
const SLOW: Duration = Duration::from_secs(2);
/// The window never falls below this, and so few do not narrow it: it is not for their number that they are slow, but while a
/// lost node's sessions move, or a service stands still.
const LEAST: f64 = 32.0;
const DECREASE: f64 = 0.7;
/// By how much the window grows with each windowful of quick attachments.
const INCREASE: f64 = 16.0;
/// Over how long the pace is counted.
const COUNTED: Duration = Duration::from_secs(1);
/// So many a second are believed possible even when none got through of late.
const SLOWEST_PACE: f64 = 50.0;

/// How an attachment ended, as far as it tells about load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The socket has its session, or its client was told that it may not have it.
    Answered,
    /// A node or a service behind it did not answer.
    Failed,
}

#[derive(Debug)]
pub struct Window {
    size: f64,
    most: f64,
    under_way: u32,
    /// The last decrease; who was let in before has had its say with it.
    shrunk: Option<Instant>,
    counted: u32,
    counting_since: Instant,
    pace: f64,
}

impl Window {
    /// As wide as it ever gets: `most` attachments at once.
    pub fn new(most: u32, now: Instant) -> Self {
        let most = f64::from(most).max(LEAST);
        Self {
            size: most,
            most,
            under_way: 0,
            shrunk: None,
            counted: 0,
            counting_since: now,
            pace: SLOWEST_PACE,
        }
    }

    /// One more is under way, unless the window is full.
    pub fn enter(&mut self) -> bool {
        let free = f64::from(self.under_way) < self.size;
        self.under_way += u32::from(free);
        free
    }

    /// One that was under way is not any more, and tells nothing.
    pub fn leave(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// One that was let in at `began` is done.
    pub fn end(&mut self, outcome: Outcome, began: Instant, now: Instant) {
        let used = self.size.min(f64::from(self.under_way));
        self.leave();
        if outcome == Outcome::Answered {
            self.count(now);
        }
        let slow = now.saturating_duration_since(began) > SLOW;
        if outcome == Outcome::Answered && !slow {
            self.size = (self.size + INCREASE / self.size).min(self.most);
        } else if used > LEAST && self.shrunk.is_none_or(|shrunk| shrunk < began) {
            self.size = (used * DECREASE).max(LEAST);
            self.shrunk = Some(now);
        }
    }

    /// Attachments a second of late.
    pub fn pace(&self, now: Instant) -> f64 {
        let counting = now.saturating_duration_since(self.counting_since);
        let pace = if counting > 2 * COUNTED {
            f64::from(self.counted) / counting.as_secs_f64()
        } else {
            self.pace
        };
        pace.max(SLOWEST_PACE)
    }

    fn count(&mut self, now: Instant) {
        self.counted += 1;
        let counting = now.saturating_duration_since(self.counting_since);
        if counting >= COUNTED {
            self.pace = f64::from(self.counted) / counting.as_secs_f64();
            (self.counted, self.counting_since) = (0, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(10);

    fn full(window: &mut Window) -> u32 {
        (0..).take_while(|_| window.enter()).count() as u32
    }

    #[test]
    fn slow_and_failed_attachments_narrow_it_and_quick_ones_widen_it_again() {
        let start = Instant::now();
        let mut window = Window::new(1000, start);
        assert_eq!(full(&mut window), 1000);
        window.end(Outcome::Answered, start, start + 2 * SLOW);
        assert_eq!(full(&mut window), 0, "999 are under way, and too many");
        (0..999).for_each(|_| window.leave());
        assert_eq!(full(&mut window), 700, "less by three tenths");
        let later = start + 3 * SLOW;
        window.end(Outcome::Failed, later, later + QUICK);
        (0..699).for_each(|_| window.leave());
        assert_eq!(full(&mut window), 490);
        for _ in 0..490 {
            window.end(Outcome::Answered, later, later + QUICK);
        }
        assert_eq!(
            full(&mut window),
            506,
            "and sixteen more after a windowful of quick ones"
        );
    }

    #[test]
    fn those_who_were_let_in_together_narrow_it_once_and_never_to_nothing() {
        let start = Instant::now();
        let mut window = Window::new(1000, start);
        full(&mut window);
        let late = start + 2 * SLOW;
        (0..1000).for_each(|_| window.end(Outcome::Failed, start, late));
        assert_eq!(full(&mut window), 700);
        (0..700).for_each(|_| window.leave());
        let few = late + SLOW;
        window.enter();
        window.end(Outcome::Failed, few, few + QUICK);
        assert_eq!(full(&mut window), 700, "a few that fail are not too many");
        for again in 2..20 {
            let began = late + again * SLOW + QUICK;
            window.end(Outcome::Failed, began, began + QUICK);
            full(&mut window);
        }
        for _ in 0..700 {
            window.leave();
        }
        assert_eq!(full(&mut window), LEAST as u32);
    }

    #[test]
    fn its_pace_is_that_of_the_last_second_and_falls_when_nothing_gets_through() {
        let start = Instant::now();
        let mut window = Window::new(1000, start);
        assert_eq!(window.pace(start), SLOWEST_PACE);
        for n in 1..=1000 {
            window.enter();
            let at = start + n * Duration::from_millis(2);
            window.end(Outcome::Answered, at, at);
        }
        let pace = window.pace(start + Duration::from_secs(2));
        assert!((495.0..=505.0).contains(&pace), "{pace}");
        assert_eq!(window.pace(start + Duration::from_secs(60)), SLOWEST_PACE);
    }
}
