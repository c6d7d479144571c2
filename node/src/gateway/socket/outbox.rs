//! What waits to be written to one socket: shared bytes in order, bounded. Pure: the socket is a closure.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

use bytes::{Buf, Bytes};
use rookery_actors::outlet::{Pushed, Urgency};
use rookery_actors::protocol::CloseCode;

/// Most buffers in one vectored write: enough to share a system call well, few enough for the stack.
const SLICES: usize = 64;
/// Most bytes written to one socket at a time before others have their turn.
const TURN_BYTES: usize = 256 * 1024;
/// Queue slots that an emptied outbox keeps for the next time.
const KEPT_SLOTS: usize = 64;
/// What answers may take beyond twice the bound: some pages of history that were asked for at once.
const ANSWER_SLACK: usize = 1024 * 1024;

/// The queue of a socket and where it stands.
#[derive(Default)]
pub struct Outbox {
    queue: VecDeque<Bytes>,
    bytes: usize,
    phase: Phase,
    /// On the flusher's list, or about to be.
    pub scheduled: bool,
    /// The socket refused bytes and a drainer waits for it.
    pub stalled: bool,
    /// A sequenced push was refused, and the session waits to hear that the rest is written.
    pub refused: bool,
    /// The first buffer of the queue is partly written.
    broken_into: bool,
}

/// The life of the sending direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    #[default]
    Open,
    /// A close frame is the last thing in the queue. `echo`: the client closed first, and ours is the answer.
    Closing { code: u16, echo: bool },
    /// The close frame is written.
    Closed { code: u16, echo: bool },
    /// The socket is gone; nothing is taken or written any more.
    Dead { code: u16 },
}

/// What became of an offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offer {
    Taken {
        /// The connection has to be put on the flusher's list.
        schedule: bool,
    },
    Full,
    /// Even an answer is too much: close.
    Overflow,
    Closed,
}

impl From<Offer> for Pushed {
    fn from(offer: Offer) -> Self {
        match offer {
            Offer::Taken { .. } => Self::Taken,
            Offer::Full => Self::Full,
            Offer::Overflow | Offer::Closed => Self::Closed,
        }
    }
}

/// What one turn of writing did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wrote {
    pub bytes: usize,
    /// Buffers written to their end.
    pub pushes: u32,
    pub calls: u32,
    /// How the turn ended.
    pub end: End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum End {
    /// Nothing waits any more.
    #[default]
    Empty,
    /// More waits, and the socket would take it: go on in the next turn.
    More,
    /// The socket takes no more for now.
    Blocked,
    /// The socket is broken.
    Failed,
}

impl Outbox {
    /// Queues bytes if the policy of their urgency takes them.
    pub fn offer(&mut self, bytes: Bytes, urgency: Urgency, bound: usize) -> Offer {
        if self.phase != Phase::Open {
            return Offer::Closed;
        }
        // What is larger than the bound by itself must get through when nothing waits, else it never would.
        let full = !self.queue.is_empty() && self.bytes + bytes.len() > bound;
        match urgency {
            Urgency::Sequenced if full => {
                self.refused = true;
                Offer::Full
            }
            Urgency::Ephemeral if full => Offer::Full,
            Urgency::Answer if self.bytes > 2 * bound + ANSWER_SLACK => Offer::Overflow,
            _ => self.append(bytes),
        }
    }

    /// Queues bytes that wait for whatever comes next.
    pub fn hold(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.queue.push_back(bytes);
    }

    /// Puts a close frame at the end. `abandon` drops what waits, but for the rest of a frame that is partly written.
    /// Answers `Closed` when it is already closing.
    pub fn close(&mut self, frame: Bytes, code: u16, echo: bool, abandon: bool) -> Offer {
        if self.phase != Phase::Open {
            return Offer::Closed;
        }
        if abandon {
            self.queue.truncate(usize::from(self.broken_into));
            self.bytes = self.queue.iter().map(Bytes::len).sum();
        }
        self.refused = false;
        self.phase = Phase::Closing { code, echo };
        self.append(frame)
    }

    fn append(&mut self, bytes: Bytes) -> Offer {
        self.bytes += bytes.len();
        self.queue.push_back(bytes);
        let schedule = !self.scheduled && !self.stalled;
        self.scheduled |= schedule;
        Offer::Taken { schedule }
    }

    /// Writes a few bytes into an empty outbox's socket. They are dropped when the socket takes none of them; what it takes
    /// only a part of is queued, and whoever pushes next brings it on its way.
    pub fn write_now(
        &mut self,
        bytes: &'static [u8],
        mut socket: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Wrote {
        let taken = socket(&[IoSlice::new(bytes)]).unwrap_or(0);
        if 0 < taken && taken < bytes.len() {
            self.bytes += bytes.len() - taken;
            self.queue.push_back(Bytes::from_static(&bytes[taken..]));
            self.broken_into = true;
        }
        Wrote {
            bytes: taken,
            pushes: u32::from(taken > 0),
            calls: 1,
            end: End::Empty,
        }
    }

    /// Writes what waits until it is gone, the socket refuses, or the turn is over.
    pub fn write(&mut self, mut socket: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Wrote {
        let mut wrote = Wrote::default();
        while !self.queue.is_empty() {
            if wrote.bytes >= TURN_BYTES {
                wrote.end = End::More;
                return wrote;
            }
            wrote.calls += 1;
            match self.gather(&mut socket) {
                Ok(0) => wrote.end = End::Failed,
                Ok(taken) => {
                    wrote.bytes += taken;
                    wrote.pushes += self.consume(taken);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => wrote.end = End::Blocked,
                Err(_) => wrote.end = End::Failed,
            }
            return wrote;
        }
        if self.queue.capacity() > KEPT_SLOTS {
            self.queue = VecDeque::new();
        }
        wrote
    }

    fn gather(&self, socket: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        if self.queue.len() == 1 {
            return socket(&[IoSlice::new(&self.queue[0])]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
            *slice = IoSlice::new(bytes);
            used += 1;
        }
        socket(&slices[..used])
    }

    /// Forgets bytes that are written; returns how many buffers that finished.
    fn consume(&mut self, mut taken: usize) -> u32 {
        self.bytes -= taken;
        let mut finished = 0;
        while let Some(front) = self.queue.front_mut() {
            if taken < front.len() {
                front.advance(taken);
                self.broken_into |= taken > 0;
                break;
            }
            taken -= front.len();
            self.queue.pop_front();
            self.broken_into = false;
            finished += 1;
        }
        finished
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether anything is to be done once all is written.
    pub fn is_awaited(&self) -> bool {
        self.refused || self.phase != Phase::Open
    }

    /// Everything is written: true when the session was refused something meanwhile and has to hear of it.
    pub fn settle_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    /// Everything is written: the close frame, if one was queued, is out.
    pub fn settle_close(&mut self) {
        if let Phase::Closing { code, echo } = self.phase {
            self.phase = Phase::Closed { code, echo };
        }
    }

    /// The socket is gone: lets go of everything. Returns the code it was closed with, 1006 when it just went away.
    pub fn die(&mut self) -> u16 {
        let code = match self.phase {
            Phase::Open => ABNORMAL,
            Phase::Closing { code, .. } | Phase::Closed { code, .. } | Phase::Dead { code } => code,
        };
        *self = Self {
            phase: Phase::Dead { code },
            ..Self::default()
        };
        code
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Gives back the queue's memory of an idle connection.
    pub fn relax(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > 0 {
            self.queue = VecDeque::new();
        }
    }
}

/// What RFC 6455 calls a connection that ended without a close frame.
pub const ABNORMAL: u16 = 1006;

/// Whether what waits is worth writing before the close frame: a client that doesn't read would never see it.
pub fn abandons(code: CloseCode) -> bool {
    code == CloseCode::TooSlow
}

#[cfg(test)]
#[path = "outbox/tests.rs"]
mod tests;
