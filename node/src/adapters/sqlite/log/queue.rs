//! What waits for the log's writer: records by shard, and committed positions to be saved.
//!
//! A caller pays a short lock and a push. The writer takes all there is by swapping buffers, and is woken only when it
//! sleeps.

use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::log::Offset;
use rookery_cluster::id::ShardId;
use tokio::sync::oneshot;

/// Records that may wait: two seconds of the highest rate a core can serve. As many again may be in the commit under way.
const MAX_RECORDS: usize = 65_536;
/// Bytes that may wait, likewise.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The largest record: far beyond what the protocol's limits can make one.
pub const MAX_RECORD: usize = 1024 * 1024;
/// Calls of `commit` that may wait: more than there are shards, so each shard's projector can have one.
const MAX_COMMITS: usize = 4096;
/// Records in one commit from which on the writer takes it that several senders are busy, and gathers.
const BUSY: usize = 2;
/// How far apart the commits of a busy log begin. An fsync costs 50 us of CPU and each report a wake-up, so a commit that
/// carries several records is cheaper for all; a lone record never waits.
const PACE: Duration = Duration::from_millis(5);
/// Capacity a shard's buffer keeps after a burst.
const KEPT: usize = 512;

/// A record that waits.
pub struct Append {
    pub token: u64,
    pub payload: Bytes,
}

/// Positions to be saved, and who waits for it.
pub struct Commit {
    pub positions: Vec<(ShardId, Offset)>,
    pub answer: oneshot::Sender<PortResult<()>>,
}

/// All that goes into one commit.
#[derive(Default)]
pub struct Work {
    /// By shard number; those that hold something are named in `busy`.
    pub appends: Vec<Vec<Append>>,
    pub busy: Vec<ShardId>,
    pub commits: Vec<Commit>,
    pub records: usize,
    pub bytes: usize,
}

impl Work {
    pub fn new(shards: u16) -> Self {
        Self {
            appends: (0..shards).map(|_| Vec::new()).collect(),
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        self.records == 0 && self.commits.is_empty()
    }

    /// Empties what is left and gives back what a burst took.
    pub fn clear(&mut self) {
        for shard in self.busy.drain(..) {
            let appends = &mut self.appends[usize::from(shard.0)];
            appends.clear();
            appends.shrink_to(KEPT);
        }
        self.commits.clear();
        self.records = 0;
        self.bytes = 0;
    }
}

pub struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    waiting: Work,
    closed: bool,
    /// The writer sleeps until there is work.
    asleep: bool,
}

impl Queue {
    pub fn new(shards: u16) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Work::new(shards),
                closed: false,
                asleep: false,
            }),
            filled: Condvar::new(),
        }
    }

    /// Queues a record; false when there is no room.
    pub fn push(&self, shard: ShardId, payload: Bytes, token: u64) -> bool {
        let mut state = self.state.lock();
        let work = &mut state.waiting;
        if work.records >= MAX_RECORDS || work.bytes + payload.len() > MAX_BYTES {
            return false;
        }
        work.records += 1;
        work.bytes += payload.len();
        let appends = &mut work.appends[usize::from(shard.0)];
        if appends.is_empty() {
            work.busy.push(shard);
        }
        appends.push(Append { token, payload });
        self.wake(&mut state);
        true
    }

    /// Queues positions; `None` when there is no room.
    pub fn commit(&self, positions: Vec<(ShardId, Offset)>) -> Option<oneshot::Receiver<PortResult<()>>> {
        let mut state = self.state.lock();
        if state.waiting.commits.len() >= MAX_COMMITS {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        state.waiting.commits.push(Commit { positions, answer });
        self.wake(&mut state);
        Some(answered)
    }

    /// Lets the writer finish what waits and end.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }

    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.asleep) {
            self.filled.notify_one();
        }
    }

    /// Waits for work and takes all of it in exchange for the empty `work`; false when the queue is closed and empty.
    /// `last` says when the last commit began and how many records it carried.
    pub fn take(&self, work: &mut Work, last: (Instant, usize)) -> bool {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return false;
            }
            state.asleep = true;
            self.filled.wait(&mut state);
            state.asleep = false;
        }
        let due = last.0 + PACE;
        while last.1 >= BUSY && !state.closed {
            if self.filled.wait_until(&mut state, due).timed_out() {
                break;
            }
        }
        std::mem::swap(&mut state.waiting, work);
        true
    }
}
