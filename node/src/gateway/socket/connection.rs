//! One live WebSocket: the stream, what waits to be written to it, and what the wheel needs to know. One allocation.

use std::io;
use std::net::{IpAddr, Shutdown};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rookery_actors::frames::Frames;
use rookery_actors::id::{ConnectionId, LoginId, UserId};
use rookery_actors::outlet::{Outlet, Pushed, Urgency};
use rookery_actors::protocol::websocket::{Opcode, close_payload, server_frame};
use rookery_actors::protocol::{CloseCode, Codec};

use super::budget::Budget;
use super::drainer;
use super::hub::Hub;
use super::meters::Tally;
use super::outbox::{End, Offer, Outbox, Phase, Wrote, abandons};
use super::wire::Wire;
use crate::gateway::door::Session;

pub struct Connection {
    id: ConnectionId,
    hub: Arc<Hub>,
    wire: Wire,
    outbox: Mutex<Outbox>,
    session: OnceLock<Box<dyn Session>>,
    pub(in crate::gateway) user: UserId,
    pub(super) login: LoginId,
    /// Where it stands in its lane's table.
    pub(super) slot: u32,
    /// When the access token expires, in seconds of the hub's clock.
    pub(super) expires: AtomicU32,
    /// When something came last, by the hub's clock.
    pub(super) heard: AtomicU32,
    /// When a ping was sent last, by the hub's clock.
    pub(super) pinged: AtomicU32,
    /// Since when a frame is incomplete, or since when it is closing, by the hub's clock; see [`Waits`].
    pub(super) waits: Waits,
    /// For frames other than `send`; only the pump takes from it.
    pub(super) budget: Mutex<Budget>,
    pub(super) address: IpAddr,
    codec: Codec,
}

/// Since when the connection owes something, as seconds of the hub's clock plus one; 0 when it doesn't.
#[derive(Default)]
pub struct Waits {
    /// A frame is incomplete.
    pub frame: AtomicU32,
    /// A close frame was queued.
    pub close: AtomicU32,
}

/// What a connection is made of.
pub struct Parts {
    pub id: ConnectionId,
    pub hub: Arc<Hub>,
    pub wire: Wire,
    pub user: UserId,
    pub login: LoginId,
    pub slot: u32,
    pub expires: u32,
    pub address: IpAddr,
    pub codec: Codec,
}

impl Connection {
    pub fn new(parts: Parts) -> Self {
        let now = parts.hub.clock.seconds();
        Self {
            id: parts.id,
            wire: parts.wire,
            outbox: Mutex::default(),
            session: OnceLock::new(),
            user: parts.user,
            login: parts.login,
            slot: parts.slot,
            expires: AtomicU32::new(parts.expires),
            heard: AtomicU32::new(now),
            pinged: AtomicU32::new(now),
            waits: Waits::default(),
            budget: Mutex::new(Budget::new(
                parts.hub.limits.frames_burst,
                parts.hub.clock.milliseconds(),
            )),
            address: parts.address,
            codec: parts.codec,
            hub: parts.hub,
        }
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(super) fn session(&self) -> Option<&dyn Session> {
        self.session.get().map(|session| &**session)
    }

    /// Whether it has had its `hello`.
    pub(in crate::gateway) fn is_attached(&self) -> bool {
        self.session.get().is_some()
    }

    /// Gives the connection its session. What was refused and written before there was one is made up for.
    pub(super) fn bind(&self, session: Box<dyn Session>) {
        let owed = {
            let mut outbox = self.outbox.lock();
            let unset = self.session.set(session).is_ok();
            debug_assert!(unset, "a connection is attached once");
            outbox.is_empty() && outbox.settle_refused()
        };
        if owed && let Some(session) = self.session() {
            session.drained();
        }
    }

    /// Queues bytes; the flusher writes them.
    pub(super) fn offer(&self, bytes: Bytes, urgency: Urgency) -> Pushed {
        let bound = self.hub.limits.outbound_queue_bytes;
        let offer = self.outbox.lock().offer(bytes, urgency, bound);
        match offer {
            Offer::Taken { schedule: true } => self.hub.mark(self),
            Offer::Taken { schedule: false } => {}
            Offer::Overflow => self.close(CloseCode::TooSlow),
            Offer::Closed => self.hub.meters.dropped_closed.increment(1),
            Offer::Full if urgency == Urgency::Sequenced => self.hub.meters.dropped_full.increment(1),
            Offer::Full => self.hub.meters.dropped_ephemeral.increment(1),
        }
        offer.into()
    }

    /// Queues the answer to the upgrade: it leaves with the first frame, which is `hello` or a goodbye.
    pub(super) fn hold(&self, answer: Bytes) {
        self.outbox.lock().hold(answer);
    }

    /// Sends a ping, past the queue: a heartbeat allocates nothing and wakes nobody here.
    pub(super) fn ping(&self) {
        const PING: &[u8] = &[0x80 | Opcode::Ping as u8, 0];
        let mut outbox = self.outbox.lock();
        if outbox.phase() == Phase::Open && outbox.is_empty() && !outbox.stalled {
            let mut tally = Tally::default();
            tally.add(outbox.write_now(PING, |slices| self.wire.try_write(slices)));
            tally.record(&self.hub.meters);
        }
        // Else what waits will show the client that we live, and its taking it that it does.
    }

    /// Says goodbye. Only the first code counts.
    pub(super) fn close_with(&self, code: u16, reason: &str, echo: bool, abandon: bool) {
        let mut frame = BytesMut::with_capacity(32);
        server_frame(Opcode::Close, &mut frame, |out| close_payload(code, reason, out));
        let offer = self.outbox.lock().close(frame.freeze(), code, echo, abandon);
        if let Offer::Taken { schedule } = offer {
            self.waits.close.store(self.hub.clock.seconds() + 1, Relaxed);
            if schedule {
                self.hub.mark(self);
            }
        }
    }

    /// The flusher's visit: writes what waits, once.
    pub(super) fn flush(self: &Arc<Self>, tally: &mut Tally) {
        let wrote = {
            let mut outbox = self.outbox.lock();
            outbox.scheduled = false;
            if outbox.stalled {
                return;
            }
            let wrote = self.write(&mut outbox);
            match wrote.end {
                End::Blocked => outbox.stalled = true,
                End::More => outbox.scheduled = true,
                End::Empty if !outbox.is_awaited() => return tally.add(wrote),
                End::Empty | End::Failed => {}
            }
            wrote
        };
        tally.add(wrote);
        match wrote.end {
            End::Empty => self.settle(),
            End::More => self.hub.mark(self),
            End::Blocked => drop(tokio::spawn(drainer::drain(self.clone()))),
            End::Failed => self.cut(),
        }
    }

    /// The drainer's visit, once the socket takes bytes again.
    pub(super) fn drain(self: &Arc<Self>) -> Wrote {
        let wrote = {
            let mut outbox = self.outbox.lock();
            let wrote = self.write(&mut outbox);
            outbox.stalled = matches!(wrote.end, End::Blocked | End::More);
            wrote
        };
        match wrote.end {
            End::Empty => self.settle(),
            End::Failed => self.cut(),
            End::Blocked | End::More => {}
        }
        wrote
    }

    fn write(&self, outbox: &mut Outbox) -> Wrote {
        outbox.write(|slices| self.wire.try_write(slices))
    }

    /// Everything is written: tells the session if it waits, and ends a connection whose last word that was.
    fn settle(self: &Arc<Self>) {
        let (drained, phase) = {
            let mut outbox = self.outbox.lock();
            if !outbox.is_empty() {
                return;
            }
            let drained = self.session.get().is_some() && outbox.settle_refused();
            outbox.settle_close();
            (drained, outbox.phase())
        };
        if drained {
            // Not here: what the session does then is its own, and must not delay, or end, the flusher of all others.
            let connection = self.clone();
            drop(tokio::spawn(async move {
                connection.session().map(|session| session.drained())
            }));
        }
        if let Phase::Closed { echo, .. } = phase {
            // A client that closed first has nothing more to say. Else its close frame, or its end, is still to come, and
            // taking the whole socket down now could destroy our close frame on its way.
            let how = if echo { Shutdown::Both } else { Shutdown::Write };
            self.wire.finish(how);
        }
    }

    /// True from the moment a close frame is queued.
    pub(super) fn is_closing(&self) -> bool {
        self.waits.close.load(Relaxed) != 0
    }

    /// Takes the socket down; the pump notices and ends.
    pub(super) fn cut(&self) {
        self.wire.cut();
    }

    /// Lets go of what waits. Returns the code the connection ended with.
    pub(super) fn die(&self) -> u16 {
        self.cut();
        self.outbox.lock().die()
    }

    pub(super) fn relax(&self) {
        self.outbox.lock().relax();
    }

    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_readable(cx)
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_writable(cx)
    }

    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wire.try_read(buffer)
    }
}

impl Outlet for Connection {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn codec(&self) -> Codec {
        self.codec
    }

    fn push(&self, frames: &Frames, urgency: Urgency) -> Pushed {
        self.offer(frames.bytes(self.codec), urgency)
    }

    fn close(&self, code: CloseCode) {
        self.close_with(code.code(), code.reason(), false, abandons(code));
    }
}
