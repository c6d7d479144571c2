//! Who gets a socket: so many a second, so many an address, and nobody while the node drains.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;
use rookery_actors::protocol::{ErrorCode, Limits, Problem};

/// Retry times are spread from one second up to this, so that those who were refused do not come back together.
const RETRY_SPREAD_MS: u64 = 5_000;
/// Shards of the table of addresses.
const SHARDS: usize = 16;

pub struct Admission {
    limits: Arc<Limits>,
    draining: AtomicBool,
    bucket: Mutex<Bucket>,
    sockets: Addresses,
    hasher: RandomState,
    dice: AtomicU64,
}

/// How many of something each address holds.
#[derive(Default)]
pub struct Addresses {
    shards: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
    hasher: RandomState,
}

impl Addresses {
    /// One more for the address, unless it holds `most` or `further` says no.
    pub fn enter(
        &self,
        address: IpAddr,
        most: u32,
        further: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut shard = self.shard(address).lock();
        let held = shard.get(&address).copied().unwrap_or(0);
        if held >= most {
            return Err(Refusal::Address);
        }
        further()?;
        shard.insert(address, held + 1);
        Ok(())
    }

    pub fn leave(&self, address: IpAddr) {
        let mut shard = self.shard(address).lock();
        match shard.get_mut(&address) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(shard.remove(&address)),
        }
    }

    fn shard(&self, address: IpAddr) -> &Mutex<HashMap<IpAddr, u32>> {
        &self.shards[(self.hasher.hash_one(address) % SHARDS as u64) as usize]
    }
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// Why a socket is refused; the label of `node_refused_total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    Draining,
    Rate,
    Address,
    /// No descriptor or memory is left for it.
    Capacity,
}

impl Refusal {
    pub fn label(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Rate => "rate",
            Self::Address => "address",
            Self::Capacity => "capacity",
        }
    }
}

impl Admission {
    pub fn new(limits: Arc<Limits>) -> Self {
        let hasher = RandomState::new();
        Self {
            bucket: Mutex::new(Bucket {
                tokens: limits.connects_per_second.into(),
                filled: Instant::now(),
            }),
            limits,
            draining: AtomicBool::new(false),
            sockets: Addresses::default(),
            dice: AtomicU64::new(hasher.hash_one(0u8)),
            hasher,
        }
    }

    /// From now on every socket is refused.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Takes a place for one socket; [`Admission::leave`] gives it back.
    pub fn enter(&self, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        let limits = &self.limits;
        self.sockets.enter(address, limits.connections_per_address, || {
            let admitted = self.bucket.lock().take(limits.connects_per_second, now);
            if admitted { Ok(()) } else { Err(Refusal::Rate) }
        })
    }

    pub fn leave(&self, address: IpAddr) {
        self.sockets.leave(address);
    }

    /// The refusal as a problem, with a time to come back that differs from client to client.
    pub fn problem(&self, refusal: Refusal) -> Problem {
        metrics::counter!("node_refused_total", "reason" => refusal.label()).increment(1);
        let problem = match refusal {
            Refusal::Draining => Problem::unavailable("this node is going away"),
            Refusal::Capacity => Problem::unavailable("this node holds all the connections it can"),
            Refusal::Rate => Problem::unavailable("too many connections at once"),
            Refusal::Address => Problem::new(ErrorCode::RateLimited, "too many connections from this address"),
        };
        problem.retry_after(1_000 + self.random(RETRY_SPREAD_MS))
    }

    /// A number below `bound`; good enough to spread load, not to keep secrets.
    pub fn random(&self, bound: u64) -> u64 {
        let step = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        self.hasher.hash_one(step) % bound.max(1)
    }
}

impl Bucket {
    /// One token, if a second's worth of them isn't used up.
    fn take(&mut self, per_second: u32, now: Instant) -> bool {
        let rate = f64::from(per_second);
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * rate;
        self.tokens = (self.tokens + gained).min(rate.max(1.0));
        self.filled = now;
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admission(per_address: u32, per_second: u32) -> Admission {
        Admission::new(Arc::new(Limits {
            connections_per_address: per_address,
            connects_per_second: per_second,
            ..Limits::default()
        }))
    }

    #[test]
    fn an_address_holds_only_so_many() {
        let admission = admission(2, 100);
        let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let now = Instant::now();
        assert_eq!(admission.enter(one, now), Ok(()));
        assert_eq!(admission.enter(one, now), Ok(()));
        assert_eq!(admission.enter(one, now), Err(Refusal::Address));
        assert_eq!(admission.enter(other, now), Ok(()));
        admission.leave(one);
        assert_eq!(admission.enter(one, now), Ok(()));
        admission.leave(one);
        admission.leave(one);
        admission.leave(other);
        assert!(admission.sockets.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn only_so_many_are_admitted_a_second() {
        let admission = admission(1000, 10);
        let start = admission.bucket.lock().filled;
        let address = [127, 0, 0, 1].into();
        let admitted = |at| (0..100).filter(|_| admission.enter(address, at).is_ok()).count();
        assert_eq!(admitted(start), 10);
        assert_eq!(admitted(start + Duration::from_millis(500)), 5);
        assert_eq!(admitted(start + Duration::from_secs(60)), 10);
    }

    #[test]
    fn a_draining_node_refuses_all_and_spreads_their_return() {
        let admission = admission(10, 10);
        admission.drain();
        assert_eq!(
            admission.enter([127, 0, 0, 1].into(), Instant::now()),
            Err(Refusal::Draining)
        );
        let retry = || admission.problem(Refusal::Draining).retry_after_ms;
        assert!((0..20).any(|_| retry() != retry()));
    }
}
