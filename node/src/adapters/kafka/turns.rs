//! How long the producer's thread lets records and answers gather: a pure rule.
//!
//! While records come close together, a turn is `linger_ms` long. A lone one is handed over at once and its answer looked for
//! soon; when none comes, ever more seldom.

use std::time::Duration;

/// How soon the answer to a lone record is looked for: about what a broker takes.
const SOON: Duration = Duration::from_micros(500);
/// How seldom a broker is looked at that does not answer.
const SELDOM: Duration = Duration::from_millis(10);
/// Weight of the past in the mean gap, in parts of one more.
const PAST: u32 = 3;

/// See the module.
#[derive(Debug)]
pub struct Turns {
    linger: Duration,
    /// Mean time between two records.
    gap: Duration,
    /// The next look for an answer.
    look: Duration,
}

impl Turns {
    pub fn new(linger: Duration) -> Self {
        Self {
            linger,
            gap: SELDOM,
            look: SOON,
        }
    }

    /// So many records were handed over, so long after the ones before. Answers how long the turn is.
    pub fn handed(&mut self, records: usize, after: Duration) -> Duration {
        if let Ok(records @ 1..) = u32::try_from(records) {
            self.gap = (self.gap * PAST + after.min(SELDOM) / records) / (PAST + 1);
            self.look = SOON;
        }
        // Two or more are to meet in a turn, or it is not worth the wait.
        if records > 0 && self.gap < self.linger / 2 && self.linger > self.look {
            self.linger
        } else {
            self.look
        }
    }

    /// What came by the end of the turn.
    pub fn ended(&mut self, answers: usize) {
        self.look = if answers > 0 { SOON } else { (self.look * 2).min(SELDOM) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(4);

    fn settled(gap: Duration) -> Duration {
        let mut turns = Turns::new(LINGER);
        let mut turn = SOON;
        for _ in 0..100 {
            let records = (turn.as_micros() / gap.as_micros()).max(1) as usize;
            turn = turns.handed(records, turn.max(gap));
            turns.ended(records);
        }
        turn
    }

    #[test]
    fn only_records_that_come_close_together_share_turns() {
        assert_eq!(settled(Duration::from_millis(100)), SOON);
        assert_eq!(settled(Duration::from_millis(2)), SOON);
        assert_eq!(settled(Duration::from_micros(500)), LINGER);
        assert_eq!(settled(Duration::from_micros(10)), LINGER);
    }

    #[test]
    fn a_broker_that_does_not_answer_is_looked_at_ever_more_seldom() {
        let mut turns = Turns::new(LINGER);
        turns.handed(1, SELDOM);
        for _ in 0..10 {
            turns.ended(0);
        }
        assert_eq!(turns.handed(0, SELDOM), SELDOM);
        assert_eq!(turns.handed(1, SELDOM), SOON);
    }

    #[test]
    fn without_linger_nothing_waits() {
        let mut turns = Turns::new(Duration::ZERO);
        for _ in 0..100 {
            assert_eq!(turns.handed(50, SOON), SOON);
        }
    }
}
