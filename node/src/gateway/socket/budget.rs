//! The budget of frames other than `send`: a token bucket in twenty bytes.

/// Frames beyond the budget for so long end the connection (the contract's ten seconds).
const PATIENCE_MS: u32 = 10_000;
/// A pause of so long without a refused frame starts the patience anew.
const CALM_MS: u32 = 2_000;
/// Tokens are counted in thousandths, so that a millisecond adds whole ones.
const UNIT: u32 = 1_000;

/// What to do with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Allowed,
    /// Answer `rate_limited`; a frame will be allowed after this time.
    Refused {
        retry_after_ms: u32,
    },
    /// Refused for too long: close.
    Abusive,
}

/// Times are milliseconds of any monotonic clock and may wrap.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    tokens: u32,
    filled: u32,
    first_refused: u32,
    last_refused: u32,
    refusing: bool,
}

impl Budget {
    /// A full bucket.
    pub fn new(burst: u32, now: u32) -> Self {
        Self {
            tokens: burst.saturating_mul(UNIT),
            filled: now,
            first_refused: now,
            last_refused: now,
            refusing: false,
        }
    }

    /// Takes a frame's token if there is one.
    pub fn take(&mut self, per_second: u32, burst: u32, now: u32) -> Verdict {
        let gained = now.wrapping_sub(self.filled).saturating_mul(per_second);
        self.tokens = self.tokens.saturating_add(gained).min(burst.saturating_mul(UNIT));
        self.filled = now;
        if self.refusing && now.wrapping_sub(self.last_refused) > CALM_MS {
            self.refusing = false;
        }
        if self.tokens >= UNIT {
            self.tokens -= UNIT;
            return Verdict::Allowed;
        }
        if !self.refusing {
            self.refusing = true;
            self.first_refused = now;
        }
        self.last_refused = now;
        if now.wrapping_sub(self.first_refused) >= PATIENCE_MS {
            return Verdict::Abusive;
        }
        Verdict::Refused {
            retry_after_ms: (UNIT - self.tokens).div_ceil(per_second.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Verdict};

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let mut budget = Budget::new(200, 0);
        let allowed = |budget: &mut Budget, now| budget.take(100, 200, now) == Verdict::Allowed;
        assert!((0..200).all(|_| allowed(&mut budget, 0)));
        assert_eq!(budget.take(100, 200, 0), Verdict::Refused { retry_after_ms: 10 });
        assert!(!allowed(&mut budget, 9));
        assert!(allowed(&mut budget, 10));
        assert_eq!((0..1000).filter(|_| allowed(&mut budget, 1010)).count(), 100);
        assert_eq!((0..1000).filter(|_| allowed(&mut budget, 100_000)).count(), 200);
    }

    #[test]
    fn ten_seconds_beyond_the_budget_are_abuse() {
        let mut budget = Budget::new(2, u32::MAX - 500);
        let mut at = 0;
        while budget.take(1, 2, (u32::MAX - 500).wrapping_add(at)) != Verdict::Abusive {
            at += 100;
            assert!(at < 11_000, "never found abusive");
        }
        assert!(at >= 10_000);
    }

    #[test]
    fn a_pause_is_forgiven() {
        let mut budget = Budget::new(1, 0);
        for second in 0..60 {
            // Three frames at once every three seconds: two are refused, but it never goes on.
            let now = second * 3_000;
            assert_eq!(budget.take(1, 1, now), Verdict::Allowed);
            assert!(matches!(budget.take(1, 1, now), Verdict::Refused { .. }));
        }
    }
}
