//! What waits for one lane: bounded in bytes, gathered by the senders, taken in large turns by the lane's writer.
//!
//! **The hot path.** A sender copies its small payload behind the others of the lane, under a lock that is held for no more
//! than that, and wakes the writer only if it had run dry. A large payload is queued as it is. The writer takes what is
//! there in one go, so that the busier a lane is, the less a frame costs.

use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::defaults::{COPY_BELOW, PIECE, TURN};
use crate::wire::{HEADER, header};

/// The queue of one lane.
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
    limit: usize,
}

/// Why a frame was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotQueued {
    Full,
    Closed,
}

/// What the writer takes at once. Kept by the writer, so that its memory serves every turn.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) pieces: Vec<Bytes>,
    pub(super) bytes: usize,
    pub(super) frames: u64,
}

#[derive(Default)]
struct Waiting {
    /// Pieces that are full, or are one large payload, and how many frames end in each.
    pieces: VecDeque<(Bytes, u64)>,
    /// The piece that small frames are added to.
    open: BytesMut,
    open_frames: u64,
    /// Bytes that were queued and not yet taken over by the connection: the current turn counts.
    bytes: usize,
    frames: u64,
    /// What of that the writer has taken.
    turn: (usize, u64),
    life: Life,
    /// The writer found nothing and is to be woken.
    dry: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Open,
    /// Takes nothing more; what waits is still written.
    Finishing,
    Closed,
}

impl Outbox {
    /// An outbox of so many bytes. One frame of any size fits into an empty one.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            limit,
        }
    }

    pub(super) fn push(&self, version: u8, payload: &Bytes) -> Result<(), NotQueued> {
        let length = HEADER + payload.len();
        let mut waiting = self.waiting.lock();
        if waiting.life != Life::Open {
            return Err(NotQueued::Closed);
        }
        if waiting.bytes > 0 && waiting.bytes + length > self.limit {
            return Err(NotQueued::Full);
        }
        waiting.bytes += length;
        waiting.frames += 1;
        waiting.append(version, payload);
        if mem::take(&mut waiting.dry) {
            drop(waiting);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for frames and takes a turn of them; false when there will be none. Calling it says that the turn before has
    /// been written. Nothing is lost when this future is dropped.
    pub(super) async fn next(&self, turn: &mut Turn) -> bool {
        loop {
            let taken = self.waiting.lock().take(turn);
            if let Some(taken) = taken {
                return taken;
            }
            self.wake.notified().await;
        }
    }

    /// Bytes that are not yet taken over by the connection.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.lock().bytes
    }

    /// Refuses what comes, and lets the writer end once it has written what is there.
    pub(super) fn finish(&self) {
        let mut waiting = self.waiting.lock();
        if waiting.life == Life::Open {
            waiting.life = Life::Finishing;
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Drops everything, and says how many frames that were.
    pub(super) fn close(&self) -> u64 {
        let mut waiting = self.waiting.lock();
        let frames = waiting.frames;
        *waiting = Waiting {
            life: Life::Closed,
            ..Waiting::default()
        };
        drop(waiting);
        self.wake.notify_one();
        frames
    }
}

impl Waiting {
    fn append(&mut self, version: u8, payload: &Bytes) {
        let copied = payload.len() < COPY_BELOW;
        let length = HEADER + if copied { payload.len() } else { 0 };
        if self.open.capacity() - self.open.len() < length {
            self.seal();
            self.open = BytesMut::with_capacity(PIECE);
        }
        self.open.extend_from_slice(&header(version, payload.len()));
        if copied {
            self.open.extend_from_slice(payload);
            self.open_frames += 1;
        } else {
            self.seal();
            self.pieces.push_back((payload.clone(), 1));
        }
    }

    /// Ends the open piece. What room it has left is the next one's.
    fn seal(&mut self) {
        if !self.open.is_empty() {
            let piece = self.open.split().freeze();
            self.pieces.push_back((piece, mem::take(&mut self.open_frames)));
        }
    }

    /// `None` when the writer has to wait.
    fn take(&mut self, turn: &mut Turn) -> Option<bool> {
        self.bytes -= self.turn.0;
        self.frames -= self.turn.1;
        *turn = Turn {
            pieces: mem::take(&mut turn.pieces),
            ..Turn::default()
        };
        turn.pieces.clear();
        self.seal();
        while turn.bytes < TURN
            && let Some((piece, frames)) = self.pieces.pop_front()
        {
            turn.bytes += piece.len();
            turn.frames += frames;
            turn.pieces.push(piece);
        }
        self.turn = (turn.bytes, turn.frames);
        self.dry = turn.bytes == 0;
        match self.life {
            _ if turn.bytes > 0 => Some(true),
            Life::Open => None,
            Life::Finishing | Life::Closed => Some(false),
        }
    }
}

#[cfg(test)]
mod tests;
