//! An event log in memory that several nodes write to.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rookery_cluster::id::ShardId;

use crate::ports::log::{EventLog, Offset, Record, Report, Reports};
use crate::ports::{PortError, PortResult};

/// The log itself. Cheap to clone.
#[derive(Clone)]
pub struct MemoryLog(Arc<Shared>);

struct Shared {
    shards: Box<[Mutex<Vec<Bytes>>]>,
    committed: Mutex<Vec<Offset>>,
    writers: Mutex<Vec<Weak<Writer>>>,
}

/// One node's hand on the log.
pub struct Writer {
    log: MemoryLog,
    own: Weak<Writer>,
    reports: OnceLock<Arc<dyn Reports>>,
    followed: Mutex<HashSet<ShardId>>,
    /// Appends that are reported later, while the reports are held back.
    held: Mutex<Option<Vec<(ShardId, Report)>>>,
}

impl MemoryLog {
    pub fn new(shards: u16) -> Self {
        Self(Arc::new(Shared {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            committed: Mutex::new(vec![0; usize::from(shards)]),
            writers: Mutex::default(),
        }))
    }

    /// Another node's hand on it.
    pub fn writer(&self) -> Arc<Writer> {
        let writer = Arc::new_cyclic(|own| Writer {
            log: self.clone(),
            own: own.clone(),
            reports: OnceLock::new(),
            followed: Mutex::default(),
            held: Mutex::default(),
        });
        self.0.writers.lock().push(Arc::downgrade(&writer));
        writer
    }

    /// How many records a shard has.
    fn end(&self, shard: ShardId) -> u64 {
        self.0.shards[usize::from(shard.0)].lock().len() as u64
    }

    fn tell_others(&self, own: &Weak<Writer>, shard: ShardId, end: Offset) {
        let writers: Vec<_> = self
            .0
            .writers
            .lock()
            .iter()
            .filter(|it| !it.ptr_eq(own))
            .cloned()
            .collect();
        for writer in writers.iter().filter_map(Weak::upgrade) {
            writer.grew(shard, end);
        }
    }
}

impl Writer {
    /// Holds back the reports of appends, and of what others append, as a log does that is slow; letting go reports them.
    pub fn hold(&self, hold: bool) {
        let held = std::mem::replace(&mut *self.held.lock(), hold.then(Vec::new));
        for (shard, report) in held.into_iter().flatten() {
            self.report(shard, report);
        }
        let followed: Vec<_> = self.followed.lock().iter().copied().collect();
        for shard in followed {
            self.grew(shard, self.log.end(shard));
        }
    }

    fn report(&self, shard: ShardId, report: Report) {
        if let Some(reports) = self.reports.get() {
            reports.appended(shard, vec![report]);
        }
    }

    fn grew(&self, shard: ShardId, end: Offset) {
        if self.held.lock().is_none()
            && self.followed.lock().contains(&shard)
            && let Some(reports) = self.reports.get()
        {
            reports.grew(shard, end);
        }
    }
}

#[async_trait]
impl EventLog for Writer {
    fn shards(&self) -> u16 {
        self.log.0.shards.len() as u16
    }

    fn start(&self, reports: Arc<dyn Reports>) {
        self.reports.set(reports).ok();
    }

    fn append(&self, shard: ShardId, payload: Bytes, token: u64) {
        let end = {
            let mut records = self.log.0.shards[usize::from(shard.0)].lock();
            let report = Report {
                token,
                outcome: Ok(records.len() as u64),
            };
            records.push(payload);
            let end = records.len() as u64;
            match &mut *self.held.lock() {
                Some(held) => held.push((shard, report)),
                // Under the shard's lock: reports come in the order of the records.
                None => self.report(shard, report),
            }
            end
        };
        self.log.tell_others(&self.own, shard, end);
    }

    async fn read(&self, shard: ShardId, from: Offset, max: usize) -> PortResult<Vec<Record>> {
        let records = self.log.0.shards[usize::from(shard.0)].lock();
        let found = (from..).zip(records.iter().skip(from as usize)).take(max);
        Ok(found
            .map(|(offset, payload)| Record {
                offset,
                payload: payload.clone(),
            })
            .collect())
    }

    async fn ends(&self) -> PortResult<Vec<Offset>> {
        Ok(self
            .log
            .0
            .shards
            .iter()
            .map(|records| records.lock().len() as u64)
            .collect())
    }

    async fn end(&self, shard: ShardId) -> PortResult<Offset> {
        Ok(self.log.end(shard))
    }

    fn follow(&self, shards: &[ShardId]) {
        *self.followed.lock() = shards.iter().copied().collect();
    }

    async fn committed(&self) -> PortResult<Vec<Offset>> {
        Ok(self.log.0.committed.lock().clone())
    }

    async fn commit(&self, positions: Vec<(ShardId, Offset)>) -> PortResult<()> {
        let mut committed = self.log.0.committed.lock();
        for (shard, next) in positions {
            let known = committed
                .get_mut(usize::from(shard.0))
                .ok_or_else(|| PortError::Broken(format!("no shard {shard}")))?;
            *known = next.max(*known);
        }
        Ok(())
    }
}
