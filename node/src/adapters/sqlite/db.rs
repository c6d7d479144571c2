//! One SQLite file: a writer thread that commits what waits together, and a few reader threads.
//!
//! Every job that is waiting when the writer is free shares one transaction, each in a savepoint of its own, and one fsync;
//! a job that fails or panics undoes itself alone. Callers are answered after the commit. Readers see committed data only.
//! The threads end with the last handle, after what was waiting is done.

mod readers;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rookery_actors::ports::{PortError, PortResult};
use rusqlite::{Connection, ErrorCode, Transaction};

use self::readers::Readers;
use self::writer::Writer;
use super::disk::Complaint;
use crate::data_dir::private_file;

/// Statements kept prepared on each connection; more than all adapters together have on a hot path.
const STATEMENTS: usize = 128;
/// How long a connection waits for another's lock. Only the writer writes, so this is for recovery and outside tools.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// A handle on one database file. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    complaint: Complaint,
}

impl Db {
    /// Opens (or makes, for the owner alone) the file, brings its schema up to date by `migrate`, and starts the threads.
    pub fn open(path: &Path, migrate: impl FnOnce(&mut Connection) -> rusqlite::Result<()>) -> PortResult<Self> {
        private_file(path)
            .map_err(|error| PortError::Broken(format!("open the database {}: {error}", path.display())))?;
        let mut connection = writing(path).map_err(|error| port_error(&error))?;
        migrate(&mut connection).map_err(|error| port_error(&error))?;
        let complaint = Complaint::default();
        Ok(Self {
            writer: Arc::new(Writer::start(connection, complaint.clone())?),
            readers: Arc::new(Readers::start(path)?),
            complaint,
        })
    }

    /// Runs a job in the next commit and answers once that is durable. A job that answers an error leaves no trace.
    pub async fn write<T, F>(&self, job: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.writer.write(job).await
    }

    /// Why the last commit that failed did.
    pub fn complaint(&self) -> &Complaint {
        &self.complaint
    }

    /// Makes a commit that changes nothing, and is written nevertheless.
    pub async fn try_to_write(&self) -> PortResult<()> {
        let touch = |transaction: &Transaction<'_>| {
            let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            transaction.pragma_update(None, "user_version", version)
        };
        self.write(touch).await
    }

    /// Runs a query on a reader thread, over what is committed now.
    pub async fn read<T, F>(&self, query: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.readers.read(query).await
    }
}

/// The writer's connection.
///
/// * 32 MiB of log before a checkpoint: pages that many commits rewrite (the last page of every busy conversation) are
///   then copied into the database once, not once a commit.
/// * 16 MiB of cached pages: the last pages of some thousand busy conversations.
/// * A burst's log is cut back to 64 MiB.
/// * `secure_delete = FAST`: what is deleted is overwritten where that costs no extra write.
fn writing(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.execute_batch(
        "PRAGMA wal_autocheckpoint = 8192;
         PRAGMA cache_size = -16384;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA secure_delete = FAST;",
    )?;
    Ok(connection)
}

/// A reader's connection.
fn reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.execute_batch("PRAGMA query_only = ON;")?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(LOCK_PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

/// What an SQLite error means for the caller, as long as no commit was tried.
pub fn port_error(error: &rusqlite::Error) -> PortError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SystemIoFailure,
        ) => PortError::Unavailable(format!("sqlite: {error}")),
        _ => PortError::Broken(format!("sqlite: {error}")),
    }
}

/// What a commit's error means: a full or busy file surely took nothing, any other failure may have left the commit behind.
pub(super) fn commit_error(error: &rusqlite::Error) -> PortError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => port_error(error),
        _ => PortError::Unknown(format!("sqlite: commit: {error}")),
    }
}

#[cfg(test)]
mod tests;
