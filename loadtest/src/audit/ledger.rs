//! Which message each seq of a conversation was seen to be. Eight bytes a message, however many receive it.

use crate::client::payload::Key;

/// A seq taken by an edit, a deletion or a reaction.
pub const UPDATE: u64 = u64::MAX;

/// A seq further than this beyond the last is nonsense, not a message.
const LEAP: usize = 4_000_000;

/// The seqs of one conversation, from 1.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    seen: Vec<u64>,
}

/// What noting a seq told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Noted {
    First,
    Same,
    /// Somebody saw another message there.
    Differs {
        other: u64,
    },
    /// Far beyond anything sent.
    Absurd,
}

impl Ledger {
    /// Somebody saw `key` (or [`UPDATE`]) under `seq`.
    #[inline]
    pub fn note(&mut self, seq: u32, key: u64) -> Noted {
        let Some(place) = (seq as usize).checked_sub(1) else {
            return Noted::Absurd;
        };
        if place >= self.seen.len() {
            if place > self.seen.len() + LEAP {
                return Noted::Absurd;
            }
            self.seen.resize(place + 1, 0);
        }
        match self.seen[place] {
            0 => {
                self.seen[place] = key;
                Noted::First
            }
            seen if seen == key => Noted::Same,
            other => Noted::Differs { other },
        }
    }

    /// The highest seq seen.
    pub fn head(&self) -> u32 {
        self.seen.len() as u32
    }

    pub fn into_seen(self) -> Vec<u64> {
        self.seen
    }

    pub fn seen(&self) -> &[u64] {
        &self.seen
    }
}

/// How a ledger's entry reads in evidence.
pub fn described(entry: u64) -> String {
    match entry {
        0 => "nothing".into(),
        UPDATE => "an update".into(),
        key => format!("{:?}", Key(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Noted};

    #[test]
    fn two_observers_must_agree() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.note(2, 7), Noted::First);
        assert_eq!(ledger.note(2, 7), Noted::Same);
        assert_eq!(ledger.note(2, 8), Noted::Differs { other: 7 });
        assert_eq!(ledger.note(1, 8), Noted::First);
        assert_eq!(
            (ledger.head(), ledger.note(u32::MAX, 1), ledger.note(0, 1)),
            (2, Noted::Absurd, Noted::Absurd)
        );
    }
}
