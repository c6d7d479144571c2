//! How often an address may try something in a minute: a table of bounded size, pure in the time it is given.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use rookery_actors::ports::directory::{Admission, Throttled, network};
use rookery_actors::time::Timestamp;

/// Addresses remembered, at about 100 bytes each. Beyond it the one that tried longest ago starts anew: who commands more
/// networks than that isn't stopped by counting addresses.
const ADDRESSES: NonZeroUsize = NonZeroUsize::new(65_536).expect("is not zero");
/// The time over which a budget is given, in microseconds.
const MINUTE: i64 = 60_000_000;

/// A budget for each address and purpose: all of it may be spent at once, and it comes back evenly over the minute
/// (generic cell rate algorithm: one number each, the instant at which the budget is whole again).
pub struct Budgets(LruCache<(Throttled, IpAddr), i64>);

impl Default for Budgets {
    fn default() -> Self {
        Self(LruCache::new(ADDRESSES))
    }
}

impl Budgets {
    /// Takes one attempt from the budget, or says when there will be one.
    pub fn admit(&mut self, what: Throttled, address: IpAddr, per_minute: u32, now: Timestamp) -> Admission {
        if per_minute == 0 {
            return Admission::Wait(Duration::from_micros(MINUTE.unsigned_abs()));
        }
        let now = now.0.saturating_mul(1_000);
        let cost = MINUTE / i64::from(per_minute);
        let whole_at = self.0.get_or_insert_mut((what, network(address)), || now);
        // No budget is more than a minute away from whole, even when the clock stepped back.
        *whole_at = (*whole_at).clamp(now, now.saturating_add(MINUTE));
        let spent = *whole_at + cost;
        let wait = spent - now - MINUTE;
        if wait > 0 {
            return Admission::Wait(Duration::from_micros(wait.unsigned_abs()));
        }
        *whole_at = spent;
        Admission::Admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_budget_comes_back_evenly() {
        let mut budgets = Budgets::default();
        let mut at = |ms| budgets.admit(Throttled::LogIn, HOME, 6, Timestamp(ms));
        for _ in 0..6 {
            assert_eq!(at(0), Admission::Admitted);
        }
        assert_eq!(at(0), Admission::Wait(Duration::from_secs(10)));
        assert_eq!(at(9_999), Admission::Wait(Duration::from_millis(1)));
        assert_eq!(at(10_000), Admission::Admitted);
        assert_ne!(at(10_000), Admission::Admitted);
    }

    #[test]
    fn a_clock_that_steps_back_locks_nobody_out_for_long() {
        let mut budgets = Budgets::default();
        let mut at = |ms| budgets.admit(Throttled::LogIn, HOME, 1, Timestamp(ms));
        assert_eq!(at(86_400_000), Admission::Admitted);
        assert_eq!(at(0), Admission::Wait(Duration::from_secs(60)));
        assert_eq!(at(60_000), Admission::Admitted);
    }

    #[test]
    fn a_large_budget_is_exact() {
        let mut budgets = Budgets::default();
        let taken = (0..7_000)
            .filter(|_| budgets.admit(Throttled::SignUp, HOME, 5_000, Timestamp(0)) == Admission::Admitted)
            .count();
        assert_eq!(taken, 5_000);
    }

    #[test]
    fn the_table_stays_bounded() {
        let mut budgets = Budgets::default();
        for nth in 0..70_000_u32 {
            let address = IpAddr::V4(nth.into());
            let admission = budgets.admit(Throttled::SignUp, address, 1, Timestamp(0));
            assert_eq!(admission, Admission::Admitted);
        }
        assert_eq!(budgets.0.len(), ADDRESSES.get());
    }
}
