//! What all sockets of the node share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rookery_actors::id::{ConnectionId, Numbers};
use rookery_actors::outlet::Outlet;
use rookery_actors::protocol::{CloseCode, Codec, ErrorCode, Limits, Problem};
use rookery_actors::system::Arrival;
use tokio::task::JoinHandle;

use super::connection::{Connection, Parts};
use super::lane::{Lane, flusher};
use super::meters::Meters;
use super::pump::Pump;
use super::wheel;
use super::wire::Wire;
use crate::accounts::Caller;
use crate::gateway::admission::{Admission, Outcome, Place};
use crate::gateway::door::Door;
use crate::gateway::drain;

/// How long a closed connection may take to say goodbye before it is cut.
pub const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// How long the actors may take to attach a socket before its client is asked to try again.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(15);

pub struct Hub {
    pub lanes: Vec<Lane>,
    pub limits: Arc<Limits>,
    pub door: Arc<dyn Door>,
    pub admission: Arc<Admission>,
    pub meters: Meters,
    pub clock: Clock,
    numbers: Numbers,
    open: AtomicU64,
}

/// A socket fresh from its upgrade.
pub struct Newcomer {
    pub wire: Wire,
    /// The head of the 101, which is still to be written.
    pub answer: Bytes,
    /// What the client sent already.
    pub early: Bytes,
    pub arrival: Arrival,
    pub caller: Caller,
    pub codec: Codec,
    pub place: Place,
}

impl Hub {
    /// `lanes` is how many flushers write at the same time: one a core.
    pub fn new(lanes: usize, limits: Arc<Limits>, door: Arc<dyn Door>, admission: Arc<Admission>) -> Arc<Self> {
        Arc::new(Self {
            lanes: (0..lanes.max(1)).map(|_| Lane::default()).collect(),
            limits,
            door,
            admission,
            meters: Meters::default(),
            clock: Clock::default(),
            numbers: Numbers::default(),
            open: AtomicU64::new(0),
        })
    }

    /// Starts the flushers and the wheel. Ending the tasks ends them.
    pub fn start(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let flushers = (0..self.lanes.len()).map(|index| tokio::spawn(flusher(self.clone(), index)));
        flushers.chain([tokio::spawn(wheel::run(self.clone()))]).collect()
    }

    /// WebSockets open now.
    pub fn connections(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Attaches a socket to its session and lets it run. Ends when that is done, or has failed and the client was told.
    pub async fn welcome(self: Arc<Self>, newcomer: Newcomer) {
        let Newcomer {
            wire,
            answer,
            early,
            arrival,
            caller,
            codec,
            mut place,
        } = newcomer;
        let connection = self.insert(wire, caller, codec, place.keep());
        if !answer.is_empty() {
            connection.hold(answer);
        }
        let attached = self.attach(&connection, arrival).await;
        place.decided(outcome(&attached));
        match attached {
            // A login that was revoked while its socket was being attached is not in the list of sockets to close.
            Ok(()) if self.door.still(caller).is_err() => connection.close(CloseCode::LoggedOut),
            Ok(()) => {
                self.meters.upgrades.increment(1);
                if self.admission.is_draining() {
                    drain::late(&self, &connection);
                }
            }
            Err(problem) => connection.close(refusal(&problem)),
        }
        let mut pump = Pump::new(connection);
        if !early.is_empty() {
            pump.take(&mut Vec::from(early));
        }
        drop(tokio::spawn(pump));
    }

    fn insert(self: &Arc<Self>, wire: Wire, caller: Caller, codec: Codec, address: IpAddr) -> Arc<Connection> {
        let id = ConnectionId(self.numbers.take());
        self.open.fetch_add(1, Relaxed);
        self.meters.connections.increment(1.0);
        self.lane(id).insert(|slot| {
            Connection::new(Parts {
                id,
                hub: self.clone(),
                wire,
                user: caller.user,
                login: caller.login,
                slot,
                expires: self.clock.second_after(caller.expires),
                address,
                codec,
            })
        })
    }

    async fn attach(&self, connection: &Arc<Connection>, arrival: Arrival) -> Result<(), Problem> {
        let mut attaching = self.door.attach(arrival, connection.clone());
        let session = match tokio::time::timeout(ATTACH_TIMEOUT, &mut attaching).await {
            Ok(session) => session?,
            Err(_) => {
                // Giving up half way could leave the session with a socket it never hears of again: tell the client now, and
                // see it through.
                connection.close(CloseCode::Overloaded);
                attaching.await?
            }
        };
        connection.bind(session);
        Ok(())
    }

    /// The end of a connection; called once, by its pump.
    pub(super) fn forget(&self, connection: &Connection) {
        let code = connection.die();
        if let Some(session) = connection.session() {
            session.detach();
        }
        self.lane(connection.id()).remove(connection.slot);
        self.admission.leave(connection.address);
        self.open.fetch_sub(1, Relaxed);
        self.meters.connections.decrement(1.0);
        metrics::counter!("node_closed_total", "code" => label(code)).increment(1);
    }

    pub(super) fn mark(&self, connection: &Connection) {
        self.lane(connection.id()).mark(connection.slot);
    }

    fn lane(&self, id: ConnectionId) -> &Lane {
        &self.lanes[(id.0 % self.lanes.len() as u64) as usize]
    }

    /// Calls `each` for every connection, in batches with a breath in between; stops when it says so.
    pub async fn walk(&self, batch: usize, mut each: impl FnMut(&Arc<Connection>)) {
        let mut connections = Vec::with_capacity(batch);
        for lane in &self.lanes {
            let mut start = 0;
            while start < lane.slots() {
                lane.range(start..start + batch, &mut connections);
                connections.drain(..).for_each(|connection| each(&connection));
                start += batch;
                tokio::task::yield_now().await;
            }
        }
    }
}

/// What it tells about load that a socket was attached, or was not.
fn outcome(attached: &Result<(), Problem>) -> Outcome {
    match attached {
        Err(problem) if refusal(problem) == CloseCode::Overloaded => Outcome::Failed,
        _ => Outcome::Answered,
    }
}

/// The code that tells a client why it could not be attached.
fn refusal(problem: &Problem) -> CloseCode {
    match problem.code {
        ErrorCode::Unauthorized => CloseCode::LoggedOut,
        ErrorCode::TokenExpired => CloseCode::TokenExpired,
        ErrorCode::Forbidden | ErrorCode::NotFound | ErrorCode::Blocked => CloseCode::Forbidden,
        ErrorCode::RateLimited => CloseCode::RateLimited,
        _ => CloseCode::Overloaded,
    }
}

/// The label of a close code: ours by number, a client's own as what it is.
fn label(code: u16) -> &'static str {
    match code {
        1000 => "1000",
        1001 => "1001",
        1003 => "1003",
        1006 => "1006",
        1007 => "1007",
        1009 => "1009",
        4000 => "4000",
        4001 => "4001",
        4002 => "4002",
        4003 => "4003",
        4008 => "4008",
        4009 => "4009",
        4010 => "4010",
        4029 => "4029",
        4503 => "4503",
        _ => "other",
    }
}

/// Monotonic time since the gateway's start. Seconds are coarse and cost one load; the wheel advances them.
pub struct Clock {
    started: Instant,
    seconds: AtomicU32,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            seconds: AtomicU32::new(0),
        }
    }
}

impl Clock {
    /// Seconds as of the wheel's last tick.
    pub fn seconds(&self) -> u32 {
        self.seconds.load(Relaxed)
    }

    /// Milliseconds, exactly; they wrap after seven weeks.
    pub fn milliseconds(&self) -> u32 {
        self.started.elapsed().as_millis() as u32
    }

    /// The first second by which an instant is over.
    pub fn second_after(&self, instant: Instant) -> u32 {
        let milliseconds = instant.saturating_duration_since(self.started).as_millis();
        u32::try_from(milliseconds.div_ceil(1000)).unwrap_or(u32::MAX)
    }

    pub fn advance(&self) -> u32 {
        let now = self.started.elapsed().as_secs() as u32;
        self.seconds.store(now, Relaxed);
        now
    }
}
