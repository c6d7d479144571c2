//! Where appends wait for the producer's thread: a caller pays a short lock and a push, and wakes the thread only when it
//! sleeps.

use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rookery_cluster::id::ShardId;

/// An append that was admitted.
#[derive(Debug)]
pub struct Ready {
    pub shard: ShardId,
    pub payload: Bytes,
    pub serial: usize,
}

/// See the module. What may wait here is bounded by the ledger.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    ready: Vec<Ready>,
    asleep: bool,
    closed: bool,
}

impl Gate {
    /// Queues an append; false when the log is closed.
    pub fn push(&self, ready: Ready) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.ready.push(ready);
        if std::mem::take(&mut state.asleep) {
            self.filled.notify_one();
        }
        true
    }

    /// Takes all there is, in exchange for the empty `ready`.
    pub fn take(&self, ready: &mut Vec<Ready>) {
        std::mem::swap(&mut self.state.lock().ready, ready);
    }

    /// Sleeps until there is something, but not longer than this.
    pub fn sleep(&self, at_most: Duration) {
        let mut state = self.state.lock();
        if state.ready.is_empty() && !state.closed {
            state.asleep = true;
            self.filled.wait_for(&mut state, at_most);
            state.asleep = false;
        }
    }

    /// Lets more gather until then.
    pub fn gather(&self, until: Instant) {
        let mut state = self.state.lock();
        while !state.closed && !self.filled.wait_until(&mut state, until).timed_out() {}
    }

    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Takes no more, and wakes the thread.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }
}
