//! The pauses between attempts to reach a peer, as a pure function.

use std::time::Duration;

use super::defaults::{REDIAL_FIRST, REDIAL_LAST};
use crate::hash::{mix, of_text};
use crate::id::NodeId;

/// How long to wait before the next attempt.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    /// Differs for each pair of nodes, so that a cluster does not redial in step.
    pair: u64,
    attempt: u32,
}

impl Backoff {
    pub(super) fn new(own: &NodeId, peer: &NodeId) -> Self {
        Self {
            pair: mix(of_text(&own.0) ^ mix(of_text(&peer.0))),
            attempt: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Doubles up to the last pause; what is returned lies between a half and the whole of it.
    pub(super) fn next(&mut self) -> Duration {
        let doubled = REDIAL_FIRST.saturating_mul(1 << self.attempt.min(16));
        self.attempt = self.attempt.saturating_add(1);
        let whole = doubled.min(REDIAL_LAST);
        let lot = mix(self.pair.wrapping_add(u64::from(self.attempt))) >> 32;
        whole / 2 + (whole / 2).mul_f64(lot as f64 / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ_by_pair() {
        let mut backoff = Backoff::new(&"a".into(), &"b".into());
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.next()).collect();
        assert!((REDIAL_FIRST / 2..=REDIAL_FIRST).contains(&pauses[0]), "{pauses:?}");
        assert!(
            pauses[10..]
                .iter()
                .all(|pause| (REDIAL_LAST / 2..=REDIAL_LAST).contains(pause)),
            "{pauses:?}"
        );
        assert_ne!(pauses[18], pauses[19], "jitter");
        assert_ne!(Backoff::new(&"a".into(), &"c".into()).next(), pauses[0]);
        backoff.reset();
        assert_eq!(backoff.next(), pauses[0]);
    }
}
