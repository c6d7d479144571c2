//! The appends of one shard that have no report yet: a pure queue in the order of the calls, which decides who is refused, who
//! has waited too long, and what a broker's answer means.
//!
//! An append that waited too long is reported `Unknown` and given up here, but not by the producer, which goes on until the
//! record stands: only so can it keep the order, and write nothing twice. Until then the shard takes nothing else. So no
//! record of ours can overtake one whose sender may be trying again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rookery_actors::ports::log::Offset;

/// When the oldest append has waited so long, the next ones are refused rather than made to wait too: longer than the election
/// of another leader takes, short enough for the few that came before it.
const STALLED: Duration = Duration::from_secs(2);

/// Why an append is not even tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The ones before it wait for long already.
    Stalled,
    /// One before it was given up, and may yet come to stand in the log.
    Unsettled,
}

/// An append that has its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It is to be reported, under this token.
    Due { token: u64, since: Instant },
    /// It was reported `Unknown` before.
    Late,
}

#[derive(Clone, Copy, Debug)]
struct Append {
    serial: usize,
    token: u64,
    since: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outstanding {
    waiting: VecDeque<Append>,
    /// Serials of those given up.
    given_up: Vec<usize>,
    /// Behind the last record of ours that stands in the log.
    end: Offset,
}

impl Outstanding {
    /// Whether one more append may be tried.
    pub fn admit(&self, now: Instant) -> Result<(), Refusal> {
        if !self.given_up.is_empty() {
            return Err(Refusal::Unsettled);
        }
        match self.waiting.front() {
            Some(oldest) if now.saturating_duration_since(oldest.since) > STALLED => Err(Refusal::Stalled),
            _ => Ok(()),
        }
    }

    /// An append is on its way.
    pub fn push(&mut self, serial: usize, token: u64, since: Instant) {
        self.waiting.push_back(Append { serial, token, since });
    }

    /// A broker, or the producer, answered an append.
    pub fn settle(&mut self, serial: usize) -> Settled {
        if let Some(place) = self.waiting.iter().position(|append| append.serial == serial)
            && let Some(Append { token, since, .. }) = self.waiting.remove(place)
        {
            return Settled::Due { token, since };
        }
        self.given_up.retain(|given_up| *given_up != serial);
        Settled::Late
    }

    /// A record of ours stands there. False when it stands before an earlier one, which must never be.
    pub fn stands(&mut self, offset: Offset) -> bool {
        let in_order = offset >= self.end;
        self.end = self.end.max(offset + 1);
        in_order
    }

    /// Behind the last record of ours that is known to stand in the log.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Gives up what has waited longer than `patience`; answers the tokens, in order.
    pub fn expire(&mut self, now: Instant, patience: Duration) -> Vec<u64> {
        let mut expired = Vec::new();
        while let Some(oldest) = self.waiting.front().copied()
            && now.saturating_duration_since(oldest.since) >= patience
        {
            self.waiting.pop_front();
            self.given_up.push(oldest.serial);
            expired.push(oldest.token);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn after(seconds: u64, start: Instant) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn answers_in_the_order_of_appends_find_their_tokens() {
        let (mut shard, now) = (Outstanding::default(), Instant::now());
        shard.push(7, 70, now);
        shard.push(8, 80, now);
        assert_eq!(shard.settle(7), Settled::Due { token: 70, since: now });
        assert_eq!(shard.settle(8), Settled::Due { token: 80, since: now });
        assert_eq!(shard.settle(8), Settled::Late);
    }

    #[test]
    fn a_shard_that_waits_for_long_refuses_more() {
        let (mut shard, now) = (Outstanding::default(), Instant::now());
        shard.push(1, 1, now);
        assert_eq!(shard.admit(after(1, now)), Ok(()));
        assert_eq!(shard.admit(after(3, now)), Err(Refusal::Stalled));
        shard.settle(1);
        assert_eq!(shard.admit(after(3, now)), Ok(()));
    }

    #[test]
    fn what_was_given_up_is_reported_once_and_blocks_until_it_is_settled() {
        let (mut shard, now) = (Outstanding::default(), Instant::now());
        shard.push(1, 10, now);
        shard.push(2, 20, after(1, now));
        assert_eq!(shard.expire(after(5, now), PATIENCE), [10]);
        assert_eq!(shard.expire(after(5, now), PATIENCE), [0; 0]);
        assert_eq!(shard.admit(after(5, now)), Err(Refusal::Unsettled));
        assert_eq!(shard.settle(1), Settled::Late);
        assert!(matches!(shard.settle(2), Settled::Due { token: 20, .. }));
        assert_eq!(shard.admit(after(9, now)), Ok(()));
    }

    #[test]
    fn records_that_stand_out_of_order_are_noticed() {
        let mut shard = Outstanding::default();
        assert!(shard.stands(4) && shard.stands(7));
        assert!(!shard.stands(5));
        assert_eq!(shard.end(), 8);
    }
}
