//! The log's SQLite file: rows in, rows out.
//!
//! There is one connection, and it has the file to itself (`locking_mode = EXCLUSIVE`): no shared memory and no lock calls
//! in a commit. The writer checkpoints between commits, when enough was written to be worth an fsync of the database and
//! little enough to be done in some milliseconds. Pages are of 8 KiB: a commit of many records takes half the system calls
//! that the usual 4 KiB would, and a lone record's page is still one write.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rookery_actors::ports::log::Offset;
use rookery_actors::ports::{PortError, PortResult};
use rookery_cluster::id::ShardId;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior};

use super::batch::Batch;
use super::index::{Index, RowId};
use crate::adapters::sqlite::db::port_error;
use crate::data_dir::private_file;

/// The layout of the file, in `PRAGMA user_version`.
const LAYOUT: i64 = 1;
/// Bytes of checked rows kept for reading: replay reads shard by shard, and each row holds records of many shards.
const CACHED_BYTES: usize = 16 * 1024 * 1024;
/// Bytes written since the last checkpoint that make the next one due: some milliseconds of copying.
const CHECKPOINT_BYTES: usize = 8 * 1024 * 1024;
/// What a commit writes beyond its rows, roughly: the pages it touches.
const COMMIT_OVERHEAD: usize = 2 * 8192;

pub struct LogFile {
    connection: Connection,
    next_row: RowId,
    cache: VecDeque<(RowId, Arc<Batch>)>,
    cached: usize,
    unchecked: usize,
}

/// What one commit writes.
pub struct Change<'a> {
    /// New rows, from `next_row` on.
    pub rows: Vec<&'a [u8]>,
    /// Committed positions that grew.
    pub positions: Vec<(ShardId, Offset)>,
    /// Rows to be deleted.
    pub spent: &'a [RowId],
}

impl Change<'_> {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.positions.is_empty() && self.spent.is_empty()
    }
}

/// Why a change was not made, or may not have been.
pub enum Failure {
    /// Nothing of it is in the file.
    Refused(PortError),
    /// All of it is in the file, or nothing: only the file knows.
    Uncertain(PortError),
}

impl LogFile {
    /// Opens the file, or makes it with so many shards, and reads what it holds.
    pub fn open(path: &Path, shards: u16) -> PortResult<(Self, Index)> {
        let at = |error: &dyn std::fmt::Display| format!("open the log {}: {error}", path.display());
        private_file(path).map_err(|error| PortError::Broken(at(&error)))?;
        let connection = connect(path, shards).map_err(|error| PortError::Broken(at(&error)))?;
        let mut file = Self {
            connection,
            next_row: 1,
            cache: VecDeque::new(),
            cached: 0,
            unchecked: 0,
        };
        let index = file.reload()?;
        let found = index.ends().len();
        if found != usize::from(shards) {
            let differs = format!("it was made with {found} shards and {shards} are wanted; the number is fixed");
            return Err(PortError::Broken(at(&differs)));
        }
        Ok((file, index))
    }

    /// Reads all rows and positions anew.
    pub fn reload(&mut self) -> PortResult<Index> {
        self.cache.clear();
        self.cached = 0;
        let mut index = Index::new(&positions(&self.connection).map_err(|error| port_error(&error))?);
        let mut after = 0;
        while let Some((row, body)) = self.row_after(after).map_err(|error| port_error(&error))? {
            index.insert(row, Batch::parse(body.into())?.runs())?;
            after = row;
        }
        self.next_row = self.next_row.max(after + 1);
        Ok(index)
    }

    fn row_after(&self, row: RowId) -> rusqlite::Result<Option<(RowId, Vec<u8>)>> {
        let mut select = self
            .connection
            .prepare_cached("SELECT id, body FROM batch WHERE id > ?1 ORDER BY id LIMIT 1")?;
        select.query_row([row], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    /// The key the next new row gets.
    pub fn next_row(&self) -> RowId {
        self.next_row
    }

    /// Makes a change durable.
    pub fn commit(&mut self, change: &Change<'_>) -> Result<(), Failure> {
        let refused = |error: rusqlite::Error| Failure::Refused(PortError::Unavailable(format!("the log: {error}")));
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(refused)?;
        write(&transaction, self.next_row, change).map_err(refused)?;
        transaction.commit().map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => refused(error),
            _ => Failure::Uncertain(PortError::Unknown(format!("the log: commit: {error}"))),
        })?;
        self.next_row += change.rows.len() as RowId;
        self.unchecked += COMMIT_OVERHEAD + change.rows.iter().map(|row| row.len()).sum::<usize>();
        if !change.spent.is_empty() {
            self.forget(change.spent);
        }
        Ok(())
    }

    /// Writes to the file what it holds: a commit like any other that changes nothing.
    pub fn touch(&mut self) -> PortResult<()> {
        let touched = self.connection.pragma_update(None, "user_version", LAYOUT);
        touched.map_err(|error| port_error(&error))
    }

    /// Copies what was committed into the database when there is enough of it.
    pub fn checkpoint(&mut self) {
        if self.unchecked < CHECKPOINT_BYTES {
            return;
        }
        self.unchecked = 0;
        let done = self
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = done {
            // Nothing is lost: the records stay in the journal, and the next one tries again.
            tracing::warn!(%error, "the log could not be checkpointed");
        }
    }

    /// A row, checked; `None` when it is gone.
    pub fn load(&mut self, row: RowId) -> PortResult<Option<Arc<Batch>>> {
        if let Some((_, batch)) = self.cache.iter().find(|(id, _)| *id == row) {
            return Ok(Some(Arc::clone(batch)));
        }
        let body = self.body(row).map_err(|error| port_error(&error))?;
        let Some(body) = body else { return Ok(None) };
        let batch = Arc::new(Batch::parse(Bytes::from(body))?);
        self.cached += batch.len();
        self.cache.push_back((row, Arc::clone(&batch)));
        while self.cached > CACHED_BYTES {
            let Some((_, oldest)) = self.cache.pop_front() else {
                break;
            };
            self.cached -= oldest.len();
        }
        Ok(Some(batch))
    }

    fn body(&self, row: RowId) -> rusqlite::Result<Option<Vec<u8>>> {
        let mut select = self.connection.prepare_cached("SELECT body FROM batch WHERE id = ?1")?;
        select.query_row([row], |row| row.get(0)).optional()
    }

    fn forget(&mut self, rows: &[RowId]) {
        let cached = &mut self.cached;
        self.cache.retain(|(row, batch)| {
            let gone = rows.contains(row);
            if gone {
                *cached -= batch.len();
            }
            !gone
        });
    }

    #[cfg(test)]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

fn connect(path: &Path, shards: u16) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA page_size = 8192;
         PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA temp_store = MEMORY;",
    )?;
    let layout: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match layout {
        0 => create(&mut connection, shards)?,
        LAYOUT => {}
        newer => return Err(rusqlite::Error::IntegralValueOutOfRange(0, newer)),
    }
    Ok(connection)
}

fn create(connection: &mut Connection, shards: u16) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE batch(id INTEGER PRIMARY KEY, body BLOB NOT NULL);
         CREATE TABLE shard(shard INTEGER PRIMARY KEY, committed INTEGER NOT NULL);",
    )?;
    for shard in 0..shards {
        transaction.execute("INSERT INTO shard(shard, committed) VALUES (?1, 0)", [shard])?;
    }
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    transaction.commit()
}

fn positions(connection: &Connection) -> rusqlite::Result<Vec<Offset>> {
    let mut select = connection.prepare("SELECT committed FROM shard ORDER BY shard")?;
    let rows = select.query_map([], |row| row.get::<_, i64>(0))?;
    rows.map(|committed| committed.map(|committed| committed as Offset))
        .collect()
}

fn write(connection: &Connection, first: RowId, change: &Change<'_>) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM batch WHERE id = ?1")?;
    for row in change.spent {
        delete.execute([row])?;
    }
    let mut insert = connection.prepare_cached("INSERT INTO batch(id, body) VALUES (?1, ?2)")?;
    for (row, body) in (first..).zip(&change.rows) {
        insert.execute(rusqlite::params![row, body])?;
    }
    let mut update = connection.prepare_cached("UPDATE shard SET committed = max(committed, ?2) WHERE shard = ?1")?;
    for (shard, next) in &change.positions {
        update.execute((shard.0, *next as i64))?;
    }
    Ok(())
}
