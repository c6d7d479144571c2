//! How far a shard's records are safe in the store: everything below the oldest record that is not.

use std::collections::BTreeSet;

use crate::ports::log::Offset;

/// Offsets given out and not stored yet.
#[derive(Debug, Default)]
pub struct Watermark {
    outstanding: BTreeSet<Offset>,
    /// The offset after the last one given out.
    end: Offset,
    committed: Offset,
}

impl Watermark {
    /// Starts with everything below `committed` stored.
    pub fn new(committed: Offset) -> Self {
        Self {
            outstanding: BTreeSet::new(),
            end: committed,
            committed,
        }
    }

    /// A record was given out.
    pub fn start(&mut self, offset: Offset) {
        self.outstanding.insert(offset);
        self.end = self.end.max(offset + 1);
    }

    /// A record's effects are stored, or it has none.
    pub fn finish(&mut self, offset: Offset) {
        self.outstanding.remove(&offset);
    }

    /// The position to commit, when it has moved since this was last asked.
    pub fn advance(&mut self) -> Option<Offset> {
        let position = self.outstanding.first().copied().unwrap_or(self.end);
        (position > self.committed).then(|| {
            self.committed = position;
            position
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Watermark;

    #[test]
    fn the_position_stops_at_the_oldest_record_that_is_not_stored() {
        let mut watermark = Watermark::new(5);
        (5..9).for_each(|offset| watermark.start(offset));
        watermark.finish(7);
        watermark.finish(5);
        assert_eq!(watermark.advance(), Some(6));
        assert_eq!(watermark.advance(), None);
        watermark.finish(6);
        watermark.finish(8);
        assert_eq!(watermark.advance(), Some(9));
    }

    proptest! {
        #[test]
        fn the_position_never_passes_an_unstored_record_and_ends_at_the_end(
            order in Just((0..30u64).collect::<Vec<_>>()).prop_shuffle(),
            asked in prop::collection::vec(any::<bool>(), 30),
        ) {
            let mut watermark = Watermark::new(0);
            (0..30).for_each(|offset| watermark.start(offset));
            let mut position = 0;
            for (index, asks) in asked.iter().enumerate() {
                watermark.finish(order[index]);
                if *asks && let Some(moved) = watermark.advance() {
                    prop_assert!(moved > position, "only forward");
                    position = moved;
                }
                prop_assert!(order[index + 1..].iter().all(|unstored| *unstored >= position));
            }
            prop_assert_eq!(watermark.advance().unwrap_or(position), 30);
        }
    }
}
