//! Who else writes into a shard: a pure comparison of the ends the brokers name with the records we know to be ours.
//!
//! An end beyond our own records is looked at twice before it is told, so that the reports of our own, which come a moment after
//! the records stand, do not look like another writer.

use std::collections::HashMap;

use rookery_actors::ports::log::Offset;

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// What the last look found beyond what was known; it is told when the next look still finds it.
    suspected: Offset,
    /// Told already.
    told: Offset,
}

/// The followed shards.
#[derive(Debug, Default)]
pub struct Growth {
    shards: HashMap<u16, Seen>,
}

impl Growth {
    /// Follows these shards, and no others.
    pub fn follow(&mut self, shards: &[u16]) {
        let before = std::mem::take(&mut self.shards);
        let kept = |shard: &u16| (*shard, before.get(shard).copied().unwrap_or_default());
        self.shards = shards.iter().map(kept).collect();
    }

    /// The followed shards.
    pub fn shards(&self) -> impl Iterator<Item = u16> + '_ {
        self.shards.keys().copied()
    }

    /// A shard ends there; our own known records end at `own`. Answers the end to tell, if there is something to tell.
    pub fn observe(&mut self, shard: u16, end: Offset, own: Offset) -> Option<Offset> {
        let seen = self.shards.get_mut(&shard)?;
        let known = own.max(seen.told);
        let confirmed = seen.suspected > known;
        seen.suspected = end;
        if confirmed {
            seen.told = end;
        }
        confirmed.then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following() -> Growth {
        let mut growth = Growth::default();
        growth.follow(&[3]);
        growth
    }

    #[test]
    fn own_records_whose_reports_are_on_their_way_are_not_told() {
        let mut growth = following();
        assert_eq!(growth.observe(3, 5, 0), None);
        assert_eq!(growth.observe(3, 9, 5), None);
        assert_eq!(growth.observe(3, 9, 9), None);
    }

    #[test]
    fn what_another_wrote_is_told_at_the_second_look_and_once() {
        let mut growth = following();
        assert_eq!(growth.observe(3, 5, 4), None);
        assert_eq!(growth.observe(3, 6, 4), Some(6));
        assert_eq!(growth.observe(3, 6, 4), None);
        assert_eq!(growth.observe(3, 7, 4), None);
        assert_eq!(growth.observe(3, 7, 4), Some(7));
    }

    #[test]
    fn only_followed_shards_are_told() {
        let mut growth = following();
        growth.observe(3, 5, 0);
        growth.follow(&[4]);
        assert_eq!(growth.observe(3, 5, 0), None);
        growth.follow(&[3]);
        assert_eq!(growth.observe(3, 5, 0), None);
        assert_eq!(growth.observe(3, 5, 0), Some(5));
    }

    #[test]
    fn following_again_forgets_nothing() {
        let mut growth = following();
        growth.observe(3, 5, 0);
        growth.follow(&[3, 9]);
        assert_eq!(growth.observe(3, 5, 0), Some(5));
    }
}
