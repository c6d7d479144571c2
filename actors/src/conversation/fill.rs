//! Replays that reach back beyond the tail: what of the latest entries they want is read from the store into it, once for all.
//!
//! A conversation that a node has just taken over has an empty tail, and all who were connected come back to it at once. Each of
//! them would read the same few entries from the store.

use crate::id::{ConversationId, UserId};
use crate::interchange::{Ask, Origin, Question};

/// What a member's connection lacks; of no member where the node itself asks.
pub struct Replay {
    pub origin: Origin,
    pub user: Option<UserId>,
    pub from: u64,
    pub to: u64,
}

impl Replay {
    fn again(self, conversation: ConversationId) -> Ask {
        let Self { origin, user, from, to } = self;
        Ask {
            conversation,
            origin,
            question: Question::Entries { from, to, user },
        }
    }
}

/// A read of stored entries, up to where the tail begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub from: u64,
    /// The stored head when it began: updates up to it are folded into what is read.
    pub folded: u64,
}

/// The replays that wait, and the read they wait for. Bounded by the connections that catch up: each asks one thing at a time.
#[derive(Default)]
pub struct Fill {
    waiting: Vec<Replay>,
    reading: Option<Read>,
}

impl Fill {
    pub fn wait(&mut self, replay: Replay) {
        self.waiting.push(replay);
    }

    /// The read that is to begin, if one is wanted and none is under way: from as far back as anybody waits for.
    pub fn next(&mut self, stored: u64) -> Option<Read> {
        if self.reading.is_some() {
            return None;
        }
        let from = self.waiting.iter().map(|replay| replay.from).min()?;
        self.reading = Some(Read { from, folded: stored });
        self.reading
    }

    /// A read has come to its end, well or not: those it was for. Nobody, where it is of a life before.
    pub fn finish(&mut self, read: Read) -> Vec<Replay> {
        if self.reading.take_if(|reading| *reading == read).is_none() {
            return Vec::new();
        }
        self.waiting.extract_if(.., |replay| replay.from >= read.from).collect()
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whatever waits, to be asked elsewhere.
    pub fn leave(&mut self, conversation: ConversationId) -> impl Iterator<Item = Ask> {
        self.reading = None;
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().map(move |replay| replay.again(conversation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(from: u64) -> Replay {
        Replay {
            origin: Origin::Nobody,
            user: None,
            from,
            to: 100,
        }
    }

    fn from_of(replays: &[Replay]) -> Vec<u64> {
        replays.iter().map(|replay| replay.from).collect()
    }

    #[test]
    fn one_read_serves_all_who_came_until_it_ended_but_for_those_who_lack_more() {
        let mut fill = Fill::default();
        assert_eq!(fill.next(100), None, "nobody waits");
        fill.wait(replay(90));
        let first = Read { from: 90, folded: 100 };
        assert_eq!(fill.next(100), Some(first));
        for from in [95, 80, 85] {
            fill.wait(replay(from));
            assert_eq!(fill.next(101), None, "one is under way");
        }
        assert_eq!(from_of(&fill.finish(first)), [90, 95]);
        let second = Read { from: 80, folded: 101 };
        assert_eq!(fill.next(101), Some(second));
        assert!(fill.finish(first).is_empty() && !fill.is_idle(), "it has ended before");
        assert_eq!(from_of(&fill.finish(second)), [80, 85]);
        assert!(fill.is_idle() && fill.next(101).is_none());
    }

    #[test]
    fn what_waits_is_asked_elsewhere() {
        let mut fill = Fill::default();
        fill.wait(replay(7));
        let read = fill.next(9).unwrap();
        let conversation = ConversationId::fresh();
        let left: Vec<_> = fill.leave(conversation).collect();
        assert_eq!(left, [replay(7).again(conversation)]);
        assert!(fill.is_idle() && fill.finish(read).is_empty());
    }
}
