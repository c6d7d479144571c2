//! Whether a shard is served here, and what came before it was.
//!
//! A shard is closed, opening, open or closing. Only an open one takes commands; those that come while it is this node's by
//! the table and not open yet wait here, in order and bounded. The phase is one atomic load on the path of every command.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::defaults;
use crate::interchange::Ask;
use crate::sent_back::{Coming, place_among};

/// Where a shard is in its life on this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    /// Another node's, or nobody's yet.
    Closed,
    /// This node's: what the log has beyond the store is being read.
    Opening,
    /// Served.
    Open,
    /// No commands are taken any more; what is under way is seen through.
    Closing,
}

impl Phase {
    fn of(code: u8) -> Self {
        match code {
            1 => Self::Opening,
            2 => Self::Open,
            3 => Self::Closing,
            _ => Self::Closed,
        }
    }
}

/// One time that a shard is opened. Who opens it may be slower than tables follow each other: what is done for a time that the
/// shard's loss has ended does nothing to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening(u64);

/// The phase of a shard, with the commands that came early.
pub struct Life {
    phase: AtomicU8,
    /// How often it began to open.
    openings: AtomicU64,
    early: Mutex<VecDeque<Early>>,
    changed: watch::Sender<Phase>,
    /// When it was opened last. By the clock that no one sets: where the other one jumps, it has not been open for longer.
    opened_at: Mutex<Option<Instant>>,
}

/// A command that waits for its shard, until a deadline.
pub struct Early {
    pub ask: Box<Ask>,
    pub deadline: Instant,
}

/// What became of a command that was to wait.
pub enum Parked {
    Kept,
    /// The shard is open by now: go on.
    Open(Box<Ask>),
    /// Too many wait already.
    Full(Box<Ask>),
}

impl Default for Life {
    fn default() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Closed as u8),
            openings: AtomicU64::new(0),
            early: Mutex::default(),
            changed: watch::Sender::new(Phase::Closed),
            opened_at: Mutex::default(),
        }
    }
}

impl Life {
    pub fn phase(&self) -> Phase {
        Phase::of(self.phase.load(Ordering::Acquire))
    }

    #[inline]
    pub fn is_open(&self) -> bool {
        self.phase.load(Ordering::Acquire) == Phase::Open as u8
    }

    /// Whether it was opened less than so long ago.
    pub fn opened_within(&self, span: Duration, now: Instant) -> bool {
        let opened = *self.opened_at.lock();
        opened.is_some_and(|at| now.saturating_duration_since(at) < span)
    }

    /// Moves from one phase to another; false when it was in none of `from`.
    pub fn step(&self, from: &[Phase], to: Phase) -> bool {
        let _early = self.early.lock();
        let stepped = from.contains(&self.phase());
        if stepped {
            self.enter(to);
        }
        stepped
    }

    /// Begins to open, where the shard is closed.
    pub fn begin_to_open(&self) -> Option<Opening> {
        let _early = self.early.lock();
        if self.phase() != Phase::Closed {
            return None;
        }
        let opening = self.openings.fetch_add(1, Ordering::AcqRel) + 1;
        self.enter(Phase::Opening);
        Some(Opening(opening))
    }

    /// Whether the shard is opening, and this is the time.
    pub fn is_opening(&self, opening: Opening) -> bool {
        self.phase() == Phase::Opening && self.openings.load(Ordering::Acquire) == opening.0
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        self.changed.send_replace(phase);
    }

    /// Keeps a command until the shard is open; one that comes again in the place that it had.
    pub fn park(&self, ask: Box<Ask>, coming: Coming, deadline: Instant) -> Parked {
        let mut early = self.early.lock();
        if self.is_open() {
            return Parked::Open(ask);
        }
        if early.len() >= defaults::EARLY_COMMANDS {
            return Parked::Full(ask);
        }
        let place = match coming {
            Coming::Again => place_among(&ask, early.iter().map(|early| &*early.ask)),
            _ => early.len(),
        };
        early.insert(place, Early { ask, deadline });
        Parked::Kept
    }

    /// Opens the shard, unless something came early: that is answered first, and then this is asked again, so that nothing
    /// that comes later overtakes it. `None` when it is not this time any more that the shard is opening.
    pub fn open_or_early(&self, opening: Opening, now: Instant) -> Option<VecDeque<Early>> {
        let mut early = self.early.lock();
        if !self.is_opening(opening) {
            return None;
        }
        if early.is_empty() {
            *self.opened_at.lock() = Some(now);
            self.enter(Phase::Open);
        }
        Some(std::mem::take(&mut early))
    }

    /// Everything that waits: the shard is another node's now.
    pub fn take_early(&self) -> VecDeque<Early> {
        std::mem::take(&mut self.early.lock())
    }

    /// What has waited too long.
    pub fn overdue(&self, now: Instant) -> Vec<Early> {
        let mut early = self.early.lock();
        if early.is_empty() {
            return Vec::new();
        }
        let (late, waiting) = std::mem::take(&mut *early)
            .into_iter()
            .partition::<Vec<_>, _>(|early| early.deadline <= now);
        *early = waiting.into();
        late
    }

    /// Returns when the shard is in a phase that `wanted` accepts.
    pub async fn until(&self, wanted: impl Fn(Phase) -> bool) {
        let mut changes = self.changed.subscribe();
        changes.wait_for(|phase| wanted(*phase)).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::id::{ConversationId, UserId};
    use crate::interchange::{Origin, Question};

    fn ask(number: u128) -> Box<Ask> {
        Box::new(Ask {
            conversation: ConversationId(Uuid::from_u128(number)),
            origin: Origin::Nobody,
            question: Question::Typing {
                user: UserId(Uuid::nil()),
            },
        })
    }

    fn park(life: &Life, number: u128, within: u64) -> Parked {
        life.park(
            ask(number),
            Coming::InTurn,
            Instant::now() + Duration::from_secs(within),
        )
    }

    #[test]
    fn what_came_early_is_answered_before_the_shard_opens() {
        let life = Life::default();
        let opening = life.begin_to_open().unwrap();
        assert_eq!(life.begin_to_open(), None);
        assert!(matches!(park(&life, 1, 9), Parked::Kept));
        let now = Instant::now();
        let early = life.open_or_early(opening, now).unwrap();
        assert_eq!(
            (early.len(), life.is_open()),
            (1, false),
            "it is not open before these are answered"
        );
        assert!(
            matches!(park(&life, 2, 9), Parked::Kept),
            "and who comes meanwhile waits behind them"
        );
        assert_eq!(life.open_or_early(opening, now).unwrap().len(), 1);
        assert!(!life.opened_within(Duration::from_secs(60), now));
        assert!(life.open_or_early(opening, now).unwrap().is_empty());
        assert!(life.is_open());
        let after = |seconds| life.opened_within(Duration::from_secs(60), now + Duration::from_secs(seconds));
        assert!(after(59) && !after(60));
        assert!(matches!(park(&life, 3, 9), Parked::Open(_)));
    }

    #[test]
    fn a_shard_lost_while_it_opens_does_not_open() {
        let life = Life::default();
        let opening = life.begin_to_open().unwrap();
        park(&life, 1, 9);
        assert!(life.step(&[Phase::Opening, Phase::Open], Phase::Closing));
        assert!(life.open_or_early(opening, Instant::now()).is_none());
        assert_eq!((life.take_early().len(), life.phase()), (1, Phase::Closing));
    }

    #[test]
    fn a_shard_that_is_back_is_not_opened_by_who_opened_it_before_its_loss() {
        let life = Life::default();
        let before = life.begin_to_open().unwrap();
        assert!(life.step(&[Phase::Opening, Phase::Open], Phase::Closing));
        assert!(life.step(&[Phase::Closing], Phase::Closed));
        let now = life.begin_to_open().unwrap();
        assert!(life.open_or_early(before, Instant::now()).is_none() && !life.is_opening(before));
        assert!(life.open_or_early(now, Instant::now()).unwrap().is_empty());
        assert!(life.is_open());
    }

    #[test]
    fn who_waits_is_bounded_in_number_and_in_time() {
        let life = Life::default();
        for number in 0..defaults::EARLY_COMMANDS {
            park(&life, number as u128, (number % 2) as u64 * 9);
        }
        assert!(matches!(park(&life, 0, 9), Parked::Full(_)));
        let late = life.overdue(Instant::now());
        assert_eq!(late.len(), defaults::EARLY_COMMANDS / 2);
        assert!(matches!(park(&life, 0, 9), Parked::Kept));
    }
}
