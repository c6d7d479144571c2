//! The event log on SQLite: a file of its own, a writer thread of its own, group commit.
//!
//! What is queued when the writer is free goes into one transaction and one fsync; then the reports go out, one call a
//! shard. The records of a commit are one row (`batch.rs`), appended at the end of one table: a row a record, keyed by
//! shard and offset, would touch a page of every busy shard in every commit, a megabyte of journal for a few kilobytes of
//! records. Where a shard's records stand is kept in memory (`index.rs`) and found again at open by reading the table, which
//! is short, because a row goes when the records in it are committed.
//!
//! What always holds:
//!
//! * A shard's next offset is the larger of its committed position and the end of its last row, both of which are in the
//!   file; a row goes only when all in it is below the committed positions. So no offset is given twice.
//! * The index is changed after the commit and before the reports: who hears of a record can read it.
//! * A commit that surely failed is reported `Unavailable` and forgotten. One that may have succeeded is reported `Unknown`,
//!   and the file is asked what it holds before anything else is written.

mod batch;
mod file;
mod index;
mod queue;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use metrics::Counter;
use parking_lot::{Mutex, RwLock};
use rookery_actors::ports::log::{EventLog, Offset, Record, Report, Reports};
use rookery_actors::ports::{PortError, PortResult};
use rookery_cluster::id::ShardId;

use self::file::LogFile;
use self::index::Index;
use self::queue::{MAX_RECORD, Queue};
use self::writer::Writer;
use super::disk::Complaint;

/// The event log in one SQLite file. Dropping it flushes what waits and ends its thread.
pub struct SqliteLog {
    shards: u16,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    refused: Counter,
}

/// What the handle and the writer both touch. Locks are taken in the order of the fields, and none while reports go out.
struct Shared {
    queue: Queue,
    file: Mutex<LogFile>,
    index: Mutex<Index>,
    reports: RwLock<Option<Arc<dyn Reports>>>,
    complaint: Complaint,
}

impl SqliteLog {
    /// Opens the log, or makes one of so many shards. The number is fixed: another one than the file's is refused.
    pub fn open(path: &Path, shards: u16) -> PortResult<Self> {
        let (file, index) = LogFile::open(path, shards)?;
        let shared = Arc::new(Shared {
            queue: Queue::new(shards),
            file: Mutex::new(file),
            index: Mutex::new(index),
            reports: RwLock::new(None),
            complaint: Complaint::default(),
        });
        let writer = Writer::new(Arc::clone(&shared), shards);
        let writer = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| PortError::Broken(format!("start the log's writer: {error}")))?;
        Ok(Self {
            shards,
            shared,
            writer: Some(writer),
            refused: metrics::counter!("node_log_refused_total"),
        })
    }

    /// Why the last commit that failed did.
    pub fn complaint(&self) -> &Complaint {
        &self.shared.complaint
    }

    /// Makes a commit that changes nothing. Blocking.
    pub fn try_to_write(&self) -> PortResult<()> {
        self.shared.file.lock().touch()
    }

    fn known(&self, shard: ShardId) -> PortResult<()> {
        if shard.0 < self.shards {
            Ok(())
        } else {
            Err(PortError::Broken(format!("the log has no shard {shard}")))
        }
    }
}

#[async_trait]
impl EventLog for SqliteLog {
    fn shards(&self) -> u16 {
        self.shards
    }

    fn start(&self, reports: Arc<dyn Reports>) {
        *self.shared.reports.write() = Some(reports);
    }

    fn append(&self, shard: ShardId, payload: Bytes, token: u64) {
        let refusal = match self.known(shard) {
            Err(error) => error,
            Ok(()) if payload.len() > MAX_RECORD => {
                PortError::Broken(format!("a record of {} bytes is too large for the log", payload.len()))
            }
            Ok(()) if self.shared.queue.push(shard, payload, token) => return,
            Ok(()) => {
                self.refused.increment(1);
                PortError::Unavailable("the log is behind: too many records wait".into())
            }
        };
        let outcome = Err(refusal);
        self.shared.report(shard, vec![Report { token, outcome }]);
    }

    async fn read(&self, shard: ShardId, from: Offset, max: usize) -> PortResult<Vec<Record>> {
        self.known(shard)?;
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || shared.read(shard, from, max));
        read.await
            .map_err(|error| PortError::Broken(format!("a read of the log panicked: {error}")))?
    }

    async fn ends(&self) -> PortResult<Vec<Offset>> {
        Ok(self.shared.index.lock().ends())
    }

    async fn end(&self, shard: ShardId) -> PortResult<Offset> {
        self.known(shard)?;
        Ok(self.shared.index.lock().ends()[usize::from(shard.0)])
    }

    /// The file is locked by this process: nobody else's records can come.
    fn follow(&self, _: &[ShardId]) {}

    async fn committed(&self) -> PortResult<Vec<Offset>> {
        Ok(self.shared.index.lock().committed())
    }

    async fn commit(&self, positions: Vec<(ShardId, Offset)>) -> PortResult<()> {
        for (shard, _) in &positions {
            self.known(*shard)?;
        }
        let closed = || PortError::Unavailable("the log is closed or behind".into());
        let answer = self.shared.queue.commit(positions).ok_or_else(closed)?;
        answer.await.map_err(|_| closed())?
    }
}

impl Shared {
    /// Hands reports over; a panic of the receiver must not end the log.
    fn report(&self, shard: ShardId, batch: Vec<Report>) {
        let Some(reports) = self.reports.read().clone() else {
            tracing::error!(%shard, "a record was appended before anybody took the reports");
            return;
        };
        let reported = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reports.appended(shard, batch)));
        if reported.is_err() {
            tracing::error!(%shard, "the receiver of the log's reports panicked");
        }
    }

    fn read(&self, shard: ShardId, from: Offset, max: usize) -> PortResult<Vec<Record>> {
        let mut records = Vec::new();
        while records.len() < max {
            let at = from + records.len() as u64;
            let Some(row) = self.index.lock().find(shard, at)? else {
                break;
            };
            let batch = self.file.lock().load(row)?;
            match batch {
                Some(batch) => batch.copy(shard, at, max - records.len(), &mut records)?,
                // Discarded since the index was asked: ask again, it knows by now.
                None if self.index.lock().find(shard, at)? != Some(row) => {}
                None => return Err(PortError::Broken(format!("the log lost row {row}"))),
            }
        }
        Ok(records)
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.take()
            // The receiver of the reports may hold the last handle; the thread then ends by itself.
            && writer.thread().id() != std::thread::current().id()
        {
            writer.join().ok();
        }
    }
}

#[cfg(test)]
mod tests;
