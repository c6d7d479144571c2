//! Who gets a socket: so many a second, so many an address, so many at once on their way to their sessions, and nobody while
//! the node drains. Who is refused is told when to come back.

mod addresses;
mod appointments;
mod window;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rookery_actors::protocol::{ErrorCode, Limits, Problem};

pub use addresses::Addresses;
use appointments::Appointments;
pub use window::Outcome;
use window::Window;

/// Retry times are spread from one second up to this, so that those who were refused do not come back together.
const RETRY_SPREAD_MS: u64 = 5_000;
/// The same of a node that goes where others serve: the next attempt finds one of these.
const OTHERS_SPREAD_MS: u64 = 1_000;

pub struct Admission {
    limits: Arc<Limits>,
    draining: AtomicBool,
    /// Others serve while this node drains.
    others: AtomicBool,
    bucket: Mutex<Bucket>,
    attaching: Mutex<Window>,
    appointments: Mutex<Appointments>,
    sockets: Addresses,
    hasher: RandomState,
    dice: AtomicU64,
}

/// A socket on its way to its session. Dropped, it is there or gone: others may come.
pub struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
    began: Instant,
    /// This gives back what it takes of its address.
    held: bool,
    /// Without one it tells nothing about load.
    outcome: Option<Outcome>,
}

impl Place {
    /// From here on [`Admission::leave`] gives back what it takes of its address.
    pub fn keep(&mut self) -> IpAddr {
        self.held = false;
        self.address
    }

    /// It is decided whether the socket gets its session.
    pub fn decided(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut attaching = self.admission.attaching.lock();
        match self.outcome {
            Some(outcome) => attaching.end(outcome, self.began, Instant::now()),
            None => attaching.leave(),
        }
        drop(attaching);
        if self.held {
            self.admission.leave(self.address);
        }
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
    /// Too many are on their way to their sessions.
    Attaching,
    /// No descriptor or memory is left for it.
    Capacity,
}

impl Refusal {
    pub fn label(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Rate => "rate",
            Self::Address => "address",
            Self::Attaching => "attaching",
            Self::Capacity => "capacity",
        }
    }
}

impl Admission {
    pub fn new(limits: Arc<Limits>) -> Self {
        let (hasher, now) = (RandomState::new(), Instant::now());
        Self {
            bucket: Mutex::new(Bucket {
                tokens: limits.connects_per_second.into(),
                filled: now,
            }),
            attaching: Mutex::new(Window::new(limits.connects_per_second, now)),
            appointments: Mutex::default(),
            limits,
            draining: AtomicBool::new(false),
            others: AtomicBool::new(false),
            sockets: Addresses::default(),
            dice: AtomicU64::new(hasher.hash_one(0u8)),
            hasher,
        }
    }

    /// From now on every socket is refused, to come back soon where other nodes serve.
    pub fn drain(&self, others: bool) {
        self.others.store(others, Relaxed);
        self.draining.store(true, Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Takes a place for one socket.
    pub fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Place, Refusal> {
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        let limits = &self.limits;
        self.sockets.enter(address, limits.connections_per_address, || {
            if !self.attaching.lock().enter() {
                return Err(Refusal::Attaching);
            }
            let admitted = self.bucket.lock().take(limits.connects_per_second, now);
            if !admitted {
                self.attaching.lock().leave();
                return Err(Refusal::Rate);
            }
            Ok(())
        })?;
        Ok(Place {
            admission: self.clone(),
            address,
            began: now,
            held: true,
            outcome: None,
        })
    }

    /// A connection has ended whose place was [`Place::keep`]t.
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
            Refusal::Attaching => Problem::unavailable("too many connections wait for their sessions"),
            Refusal::Address => Problem::new(ErrorCode::RateLimited, "too many connections from this address"),
        };
        let turn = self.turn(refusal, Instant::now()).as_millis() as u64;
        let spread = match refusal {
            Refusal::Draining if self.others.load(Relaxed) => OTHERS_SPREAD_MS,
            _ => RETRY_SPREAD_MS,
        };
        problem.retry_after(1_000 + turn + self.random(spread))
    }

    /// How long until those who were refused for the same reason before have had their turn.
    fn turn(&self, refusal: Refusal, now: Instant) -> Duration {
        let pace = match refusal {
            Refusal::Rate => f64::from(self.limits.connects_per_second),
            Refusal::Attaching => self.attaching.lock().pace(now),
            Refusal::Draining | Refusal::Capacity | Refusal::Address => return Duration::ZERO,
        };
        self.appointments.lock().give(pace, now)
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

    fn admission(per_address: u32, per_second: u32) -> Arc<Admission> {
        Arc::new(Admission::new(Arc::new(Limits {
            connections_per_address: per_address,
            connects_per_second: per_second,
            ..Limits::default()
        })))
    }

    /// Whether a connection that lasts is let in.
    fn enter(admission: &Arc<Admission>, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        admission.enter(address, now).map(|mut place| _ = place.keep())
    }

    #[test]
    fn an_address_holds_only_so_many() {
        let admission = admission(2, 100);
        let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let now = Instant::now();
        assert_eq!(enter(&admission, one, now), Ok(()));
        assert_eq!(enter(&admission, one, now), Ok(()));
        assert_eq!(enter(&admission, one, now), Err(Refusal::Address));
        assert_eq!(enter(&admission, other, now), Ok(()));
        admission.leave(one);
        assert_eq!(enter(&admission, one, now), Ok(()));
        admission.leave(one);
        admission.leave(one);
        admission.leave(other);
        assert!(admission.sockets.is_empty());
    }

    #[test]
    fn only_so_many_are_admitted_a_second() {
        let admission = admission(1000, 10);
        let start = admission.bucket.lock().filled;
        let address = [127, 0, 0, 1].into();
        let admitted = |at| (0..100).filter(|_| enter(&admission, address, at).is_ok()).count();
        assert_eq!(admitted(start), 10);
        assert_eq!(admitted(start + Duration::from_millis(500)), 5);
        assert_eq!(admitted(start + Duration::from_secs(60)), 10);
    }

    #[test]
    fn only_so_many_wait_for_their_sessions_and_the_others_take_turns() {
        let admission = admission(10_000, 1_000);
        let (address, now) = ([127, 0, 0, 1].into(), Instant::now());
        let waiting: Vec<Place> = (0..1_000).map_while(|_| admission.enter(address, now).ok()).collect();
        assert_eq!(waiting.len(), 1_000);
        let later = now + Duration::from_secs(5);
        assert_eq!(enter(&admission, address, later), Err(Refusal::Attaching));
        let retry = || admission.problem(Refusal::Attaching).retry_after_ms.unwrap();
        let hundredth = std::iter::repeat_with(retry).nth(99).unwrap();
        assert!(hundredth >= 2_500, "{hundredth}");
        drop(waiting);
        assert_eq!(enter(&admission, address, later), Ok(()));
        admission.leave(address);
        assert!(admission.sockets.is_empty());
    }

    #[test]
    fn a_draining_node_refuses_all_and_spreads_their_return() {
        let admission = admission(10, 10);
        admission.drain(false);
        assert_eq!(
            enter(&admission, [127, 0, 0, 1].into(), Instant::now()),
            Err(Refusal::Draining)
        );
        let retry = || admission.problem(Refusal::Draining).retry_after_ms;
        assert!((0..20).any(|_| retry() != retry()));
        assert!((0..100).any(|_| retry() > Some(2_000)));
        admission.drain(true);
        assert!((0..100).all(|_| retry() < Some(2_000)), "another node takes them");
    }
}
