//! A link that is up: its lanes, the pulse that says whether the peer lives, and how it ends.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{Connection, ConnectionError, SendStream, VarInt, WriteError};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};

use super::LinkState;
use super::control::{Beat, Deaf, Ear, Say};
use super::defaults::{CONTROL_BYTES, LANES, WIND_UP};
use super::handshake::Terms;
use super::lane::{self, Unreadable};
use super::liveness::{LOOK_EVERY, Liveness, Verdict};
use super::outbox::{NotQueued, Outbox};
use crate::hash::mix;
use crate::membership::Incarnation;
use crate::metrics::LinkMeters;
use crate::transport::{SendError, Sink};
use crate::wire::OLDEST;

/// A connection on which both ends agreed.
pub(super) struct Established {
    pub(super) connection: Connection,
    pub(super) terms: Terms,
    /// This node's, when they agreed.
    pub(super) own_incarnation: Incarnation,
    pub(super) mouth: SendStream,
    pub(super) ear: Ear,
}

/// What senders need of a link.
pub(super) struct Link {
    pub(super) terms: Terms,
    pub(super) own_incarnation: Incarnation,
    pub(super) connection: Connection,
    lanes: [Arc<Outbox>; LANES],
    control: Arc<Outbox>,
    since: Instant,
    /// Microseconds since then.
    heard: AtomicU64,
    meters: Arc<LinkMeters>,
}

/// Why a link ended.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error("the peer fell silent")]
    Silent,
    #[error("{0}")]
    Closed(#[from] ConnectionError),
    #[error("{0}")]
    Deaf(Deaf),
    #[error("{0}")]
    Unreadable(Unreadable),
    #[error("write a lane: {0}")]
    Unwritable(WriteError),
    #[error("a task of the link failed: {0}")]
    Failed(String),
    #[error("another connection of the peer replaced it")]
    Replaced,
    #[error("the peer or this node has a new incarnation")]
    Superseded,
    #[error("the peer left the cluster")]
    Left,
    #[error("this node shuts down")]
    Shutdown,
}

/// The tasks of a link, owned by its keeper.
pub(super) struct Running {
    pub(super) link: Arc<Link>,
    /// Hears the peer and says that this node lives. Ended at any moment.
    pulse: JoinSet<Ending>,
    writers: JoinSet<Result<(), WriteError>>,
    /// Accepts the peer's lanes and reads them.
    listener: JoinSet<Ending>,
}

impl Ending {
    /// The code that closes the connection; those below 0x10 are a link's, the others the handshake's.
    fn code(&self) -> u32 {
        match self {
            Self::Silent => 0x01,
            Self::Closed(_) | Self::Deaf(_) | Self::Unreadable(_) | Self::Unwritable(_) | Self::Failed(_) => 0x02,
            Self::Replaced => 0x03,
            Self::Superseded => 0x04,
            Self::Left => 0x05,
            Self::Shutdown => 0x06,
        }
    }

    /// The value of the label `reason`.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Silent | Self::Closed(ConnectionError::TimedOut) => "silent",
            Self::Closed(_) | Self::Unwritable(_) | Self::Deaf(Deaf::Stream(_) | Deaf::Ended) => "closed",
            Self::Unreadable(Unreadable::Stream(_)) => "closed",
            Self::Deaf(_) | Self::Unreadable(_) | Self::Failed(_) => "broken",
            Self::Replaced | Self::Superseded => "replaced",
            Self::Left => "left",
            Self::Shutdown => "shutdown",
        }
    }
}

impl From<JoinError> for Ending {
    fn from(error: JoinError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Link {
    pub(super) fn send(&self, lane: u64, payload: &Bytes) -> Result<(), SendError> {
        if payload.len() > self.terms.most_bytes {
            return Err(SendError::TooLarge {
                node: self.terms.node.clone(),
                length: payload.len(),
            });
        }
        let lane = &self.lanes[(mix(lane) % LANES as u64) as usize];
        lane.push(self.terms.version, payload).map_err(|why| match why {
            NotQueued::Full => SendError::Full(self.terms.node.clone()),
            NotQueued::Closed => SendError::Unreachable(self.terms.node.clone()),
        })
    }

    /// Bytes that wait for the connection to take them.
    pub(super) fn queued(&self) -> usize {
        self.lanes.iter().map(|lane| lane.bytes()).sum()
    }

    pub(super) fn state(&self) -> LinkState {
        LinkState {
            node: self.terms.node.clone(),
            incarnation: self.terms.incarnation,
            address: self.connection.remote_address(),
            round_trip: self.connection.rtt(),
            queued: self.queued(),
        }
    }

    fn close(&self, ending: &Ending) {
        let reason = ending.to_string();
        self.connection
            .close(VarInt::from_u32(ending.code()), reason.as_bytes());
    }

    fn say(&self, say: Say) {
        // A control lane that is full is the peer's silence, which is judged by what is heard.
        let _ = self.control.push(OLDEST, &say.into_payload());
    }

    fn elapsed(&self) -> u64 {
        self.since.elapsed().as_micros() as u64
    }

    /// Says that this node lives, until the peer does not.
    async fn pulse(self: Arc<Self>) -> Ending {
        let mut liveness = Liveness::new(self.since);
        let mut queued = Published::new(&self.meters);
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let heard = self.since + Duration::from_micros(self.heard.load(Ordering::Relaxed));
            match liveness.look(Instant::now(), heard) {
                Verdict::Wait => {}
                Verdict::Ping => self.say(Say::Ping(Beat { sent: self.elapsed() })),
                Verdict::Silent => return Ending::Silent,
            }
            queued.set(self.queued());
        }
    }

    async fn hear(self: Arc<Self>, mut ear: Ear) -> Ending {
        loop {
            match ear.next().await {
                Ok(Say::Ping(beat)) => self.say(Say::Pong(beat)),
                Ok(Say::Pong(beat)) => {
                    let micros = self.elapsed().saturating_sub(beat.sent);
                    self.meters.round_trip.record(Duration::from_micros(micros));
                }
                // Nothing that was settled is settled anew.
                Ok(Say::Hello(_) | Say::Welcome(_)) => {}
                Err(error) => return Ending::Deaf(error),
            }
            self.heard.store(self.elapsed(), Ordering::Relaxed);
        }
    }

    /// Reads the peer's lanes. Ends when the connection does, and all that had arrived has been handed over.
    async fn listen(self: Arc<Self>, sink: watch::Receiver<Option<Arc<dyn Sink>>>) -> Ending {
        let sink = tokio::select! {
            sink = wait_for(sink) => sink,
            closed = self.connection.closed() => return Ending::Closed(closed),
        };
        let mut readers = JoinSet::new();
        let ending = loop {
            tokio::select! {
                stream = self.connection.accept_uni() => match stream {
                    Ok(stream) => {
                        let from = self.terms.node.clone();
                        readers.spawn(lane::read(stream, from, sink.clone(), self.meters.clone()));
                    }
                    Err(error) => break Ending::Closed(error),
                },
                Some(ended) = readers.join_next() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break Ending::Unreadable(error),
                    Err(error) => break error.into(),
                },
            }
        };
        self.close(&ending);
        while readers.join_next().await.is_some() {}
        ending
    }
}

impl Running {
    /// Starts everything but reading.
    pub(super) fn start(established: Established, queue_bytes: usize, meters: &Arc<LinkMeters>) -> Self {
        let since = Instant::now();
        let link = Arc::new(Link {
            terms: established.terms,
            own_incarnation: established.own_incarnation,
            connection: established.connection,
            lanes: std::array::from_fn(|_| Arc::new(Outbox::new(queue_bytes))),
            control: Arc::new(Outbox::new(CONTROL_BYTES)),
            since,
            heard: AtomicU64::new(0),
            meters: meters.clone(),
        });
        let mut writers = JoinSet::new();
        for lane in &link.lanes {
            let (connection, lane, meters) = (link.connection.clone(), lane.clone(), meters.clone());
            writers.spawn(async move { lane::write(connection.open_uni().await?, lane, meters).await });
        }
        let mut pulse = JoinSet::new();
        let (mouth, control, meters) = (established.mouth, link.control.clone(), meters.clone());
        pulse.spawn(async move {
            match lane::write(mouth, control, meters).await {
                Ok(()) => pending().await,
                Err(error) => Ending::Unwritable(error),
            }
        });
        pulse.spawn(link.clone().hear(established.ear));
        pulse.spawn(link.clone().pulse());
        Self {
            link,
            pulse,
            writers,
            listener: JoinSet::new(),
        }
    }

    /// Starts to hand over what arrives, once there is a sink.
    pub(super) fn listen(&mut self, sink: watch::Receiver<Option<Arc<dyn Sink>>>) {
        self.listener.spawn(self.link.clone().listen(sink));
    }

    /// Waits for the link to end by itself. Nothing is lost when this future is dropped.
    pub(super) async fn ended(&mut self) -> Ending {
        loop {
            let ended = tokio::select! {
                Some(ended) = self.pulse.join_next() => ended.map(Some),
                Some(ended) = self.listener.join_next() => ended.map(Some),
                Some(ended) = self.writers.join_next() => ended.map(|ended| ended.err().map(Ending::Unwritable)),
                else => return Ending::Failed("it has no tasks".into()),
            };
            match ended {
                Ok(Some(ending)) => return ending,
                // A lane that was finished.
                Ok(None) => {}
                Err(error) => return error.into(),
            }
        }
    }

    /// Takes nothing more to send, and waits until the peer has what was queued, but no longer than this.
    pub(super) async fn flush(&mut self, until: Instant) {
        self.link.lanes.iter().for_each(|lane| lane.finish());
        let flushed = async { while self.writers.join_next().await.is_some() {} };
        let _ = timeout_at(until.into(), flushed).await;
    }

    /// Ends the link. When this returns, nothing more of it reaches the sink.
    pub(super) async fn stop(mut self, ending: &Ending) {
        self.link.close(ending);
        let lost = self.link.lanes.iter().map(|lane| lane.close()).sum();
        self.link.meters.frames_lost.increment(lost);
        self.pulse.shutdown().await;
        self.writers.shutdown().await;
        let wound_up = async { while self.listener.join_next().await.is_some() {} };
        if timeout(WIND_UP, wound_up).await.is_err() {
            self.listener.shutdown().await;
        }
    }
}

async fn wait_for(mut sink: watch::Receiver<Option<Arc<dyn Sink>>>) -> Arc<dyn Sink> {
    match sink.wait_for(Option::is_some).await.map(|sink| sink.clone()) {
        Ok(Some(sink)) => sink,
        // The transport is gone, and its connections with it.
        _ => pending().await,
    }
}

/// A link's share of a gauge, taken back when the link ends.
struct Published<'a> {
    meters: &'a LinkMeters,
    bytes: usize,
}

impl<'a> Published<'a> {
    fn new(meters: &'a LinkMeters) -> Self {
        Self { meters, bytes: 0 }
    }

    fn set(&mut self, bytes: usize) {
        self.meters.queue_bytes.increment(bytes as f64 - self.bytes as f64);
        self.bytes = bytes;
    }
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}
