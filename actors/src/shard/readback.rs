//! Which records of a shard are due: a pure buffer that turns reports of own appends and records read from the log into the
//! log's order, each once.

use std::collections::BTreeMap;

use crate::ports::log::Offset;

/// Records by offset, given out in order without holes.
#[derive(Debug)]
pub struct Readback<T> {
    next: Offset,
    held: BTreeMap<Offset, T>,
}

impl<T> Readback<T> {
    /// Starts where `next` is the first record not seen yet.
    pub fn new(next: Offset) -> Self {
        Self {
            next,
            held: BTreeMap::new(),
        }
    }

    /// The first record not given out yet.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Takes a record. One that was given out already is dropped; one that is known is replaced by nothing: the first counts.
    pub fn take(&mut self, offset: Offset, record: T) {
        if offset >= self.next {
            self.held.entry(offset).or_insert(record);
        }
    }

    /// Whether that record still has to be read from the log.
    pub fn lacks(&self, offset: Offset) -> bool {
        offset >= self.next && !self.held.contains_key(&offset)
    }

    /// What is due now, in order.
    pub fn due(&mut self) -> Vec<(Offset, T)> {
        let mut due = Vec::new();
        while let Some(record) = self.held.remove(&self.next) {
            due.push((self.next, record));
            self.next += 1;
        }
        due
    }

    /// What is held behind a hole, in order: it is given up, and has to be read anew.
    pub fn give_up(&mut self) -> Vec<T> {
        std::mem::take(&mut self.held).into_values().collect()
    }

    /// The hole before the first held record: `from..to` must be read from the log.
    pub fn hole(&self) -> Option<(Offset, Offset)> {
        self.held.first_key_value().map(|(first, _)| (self.next, *first))
    }

    /// Below which offset records read from the log may be taken. While own appends are under way that is the first held
    /// record: what stands beyond may be theirs, and their reports, which come in order, know who waits for an answer.
    pub fn readable_below(&self, own_under_way: bool) -> Offset {
        match self.held.first_key_value() {
            _ if !own_under_way => Offset::MAX,
            Some((first, _)) => *first,
            None => self.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Readback;

    #[test]
    fn consecutive_reports_are_due_at_once() {
        let mut readback = Readback::new(7);
        readback.take(7, "a");
        readback.take(8, "b");
        assert_eq!(readback.due(), [(7, "a"), (8, "b")]);
        assert_eq!((readback.next(), readback.hole()), (9, None));
    }

    #[test]
    fn a_record_beyond_a_hole_waits_until_the_hole_is_read() {
        let mut readback = Readback::new(0);
        readback.take(2, "c");
        assert_eq!((readback.due(), readback.hole()), (vec![], Some((0, 2))));
        readback.take(0, "a");
        readback.take(1, "b");
        assert_eq!(readback.due(), [(0, "a"), (1, "b"), (2, "c")]);
    }

    #[test]
    fn a_record_is_given_out_once_however_often_it_is_taken() {
        let mut readback = Readback::new(0);
        readback.take(0, "own");
        readback.take(0, "read");
        assert_eq!(readback.due(), [(0, "own")]);
        readback.take(0, "again");
        assert_eq!(readback.due(), []);
        assert!(!readback.lacks(0) && readback.lacks(1));
    }

    #[test]
    fn what_may_be_an_own_append_under_way_is_not_taken_from_the_log() {
        let mut readback = Readback::new(3);
        assert_eq!(readback.readable_below(true), 3);
        assert_eq!(readback.readable_below(false), u64::MAX);
        readback.take(5, "own");
        assert_eq!(readback.readable_below(true), 5);
    }

    #[test]
    fn what_is_given_up_is_lacking_again() {
        let mut readback = Readback::new(0);
        readback.take(2, "c");
        readback.take(1, "b");
        assert_eq!(readback.give_up(), ["b", "c"]);
        assert!(readback.lacks(1) && readback.hole().is_none());
    }

    proptest! {
        #[test]
        fn every_record_is_given_out_once_and_in_order(takes in prop::collection::vec((0..20u64, 0..3u8), 0..100)) {
            let mut readback = Readback::new(0);
            let mut given = Vec::new();
            for (offset, due) in takes {
                readback.take(offset, ());
                prop_assert!(!readback.lacks(offset));
                if due == 0 {
                    given.extend(readback.due().into_iter().map(|(offset, ())| offset));
                    if let Some((from, to)) = readback.hole() {
                        prop_assert!(from == readback.next() && from < to);
                    }
                }
            }
            (0..20).filter(|offset| readback.lacks(*offset)).collect::<Vec<_>>().into_iter().for_each(|offset| readback.take(offset, ()));
            given.extend(readback.due().into_iter().map(|(offset, ())| offset));
            prop_assert_eq!(given, (0..20).collect::<Vec<_>>());
        }
    }
}
