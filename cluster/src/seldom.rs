//! What is worth a line in the log once in a while, however often it happens: pure.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lines are at least so far apart.
const APART: Duration = Duration::from_secs(60);

/// When something was told last, and how often it has happened since.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// It has happened again: how often since it was told last, where it is to be told now.
    pub(crate) fn is_to_be_told(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock();
        told.1 += 1;
        if told.0.is_some_and(|last| now.duration_since(last) < APART) {
            return None;
        }
        told.0 = Some(now);
        Some(std::mem::take(&mut told.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_others_together() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.is_to_be_told(now), Some(1));
        assert_eq!(seldom.is_to_be_told(now + APART / 2), None);
        assert_eq!(seldom.is_to_be_told(now + APART), Some(2));
        assert_eq!(seldom.is_to_be_told(now + APART), None);
    }
}
