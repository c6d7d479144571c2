//! A share of the connections, with the flusher that writes for them.
//!
//! The flusher's rhythm: what the actors pushed in one turn is written in one pass, right after that turn. When passes cost
//! much, the next one waits for a while, so that more of what is due for a socket shares a write: the busier, the
//! cheaper a delivery. An idle flusher waits for nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::connection::Connection;
use super::hub::Hub;
use super::meters::Tally;

/// Connections written to before others have the core: at 2-4 us each, reads wait no longer than half a millisecond.
const CHUNK: usize = 128;
/// The longest wait between two passes: what five to ten milliseconds share costs almost nothing more to write.
const LONGEST_GAP: Duration = Duration::from_millis(8);
/// Gaps shorter than what the timer can tell apart are not worth a sleep.
const SHORTEST_GAP: Duration = Duration::from_millis(1);
/// The gap is so many times what the last pass took: flushing takes at most a third of the flusher's time.
const GAP_FACTOR: u32 = 2;
/// Room for marks that a lane keeps after a storm.
const KEPT_MARKS: usize = 4096;

#[derive(Default)]
pub struct Lane {
    /// Slots of the connections that have something to write, each once.
    dirty: Mutex<Vec<u32>>,
    marked: Notify,
    table: Mutex<Table>,
}

/// The connections of a lane by slot.
#[derive(Default)]
struct Table {
    slots: Vec<Option<Arc<Connection>>>,
    free: Vec<u32>,
}

impl Lane {
    /// Adds the connection that `make` builds for a slot.
    pub fn insert(&self, make: impl FnOnce(u32) -> Connection) -> Arc<Connection> {
        let mut table = self.table.lock();
        let slot = match table.free.pop() {
            Some(slot) => slot,
            None => {
                table.slots.push(None);
                (table.slots.len() - 1) as u32
            }
        };
        let connection = Arc::new(make(slot));
        table.slots[slot as usize] = Some(connection.clone());
        connection
    }

    /// Forgets the connection of a slot.
    pub fn remove(&self, slot: u32) {
        let mut table = self.table.lock();
        let removed = table.slots.get_mut(slot as usize).and_then(Option::take);
        if removed.is_some() {
            table.free.push(slot);
        }
        drop(table);
        // The connection itself may go here, and with it its stream: not under the lock.
        drop(removed);
    }

    /// Slots in use and free.
    pub fn slots(&self) -> usize {
        self.table.lock().slots.len()
    }

    /// The connections of a range of slots.
    pub fn range(&self, slots: std::ops::Range<usize>, out: &mut Vec<Arc<Connection>>) {
        let table = self.table.lock();
        let end = slots.end.min(table.slots.len());
        let found = table.slots.get(slots.start..end).unwrap_or_default();
        out.extend(found.iter().flatten().cloned());
    }

    /// Puts a slot on the flusher's list.
    pub fn mark(&self, slot: u32) {
        let first = {
            let mut dirty = self.dirty.lock();
            dirty.push(slot);
            dirty.len() == 1
        };
        if first {
            self.marked.notify_one();
        }
    }

    fn collect(&self, slots: &[u32], out: &mut Vec<Arc<Connection>>) {
        let table = self.table.lock();
        out.extend(slots.iter().filter_map(|slot| table.slots.get(*slot as usize)?.clone()));
    }

    /// Swaps the marks against an empty list.
    fn take(&self, marks: &mut Vec<u32>) {
        marks.clear();
        marks.shrink_to(KEPT_MARKS);
        std::mem::swap(&mut *self.dirty.lock(), marks);
    }
}

/// The flusher of one lane; runs as long as the hub.
pub async fn flusher(hub: Arc<Hub>, index: usize) {
    let lane = &hub.lanes[index];
    let (mut marks, mut chunk) = (Vec::new(), Vec::with_capacity(CHUNK));
    loop {
        lane.take(&mut marks);
        if marks.is_empty() {
            lane.marked.notified().await;
            continue;
        }
        let busy = pass(&hub, lane, &marks, &mut chunk).await;
        let gap = (busy * GAP_FACTOR).min(LONGEST_GAP);
        if gap >= SHORTEST_GAP {
            tokio::time::sleep(gap).await;
        }
    }
}

/// Writes for every marked connection; returns the time that took, without that of others.
async fn pass(hub: &Hub, lane: &Lane, marks: &[u32], chunk: &mut Vec<Arc<Connection>>) -> Duration {
    let mut tally = Tally::default();
    let mut busy = Duration::ZERO;
    for slots in marks.chunks(CHUNK) {
        let started = Instant::now();
        lane.collect(slots, chunk);
        for connection in chunk.drain(..) {
            connection.flush(&mut tally);
        }
        tally.record(&hub.meters);
        busy += started.elapsed();
        tokio::task::yield_now().await;
    }
    busy
}
