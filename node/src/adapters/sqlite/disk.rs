//! Whether the disk takes what the log and the store write, for who decides whether clients may come.
//!
//! The writers note a commit that failed. None that succeeds takes that back: the next small one may still fit on a full disk, and
//! many change nothing. Nor does time, as a node to which nobody comes may have nothing to write. So from then on it is tried
//! once a second whether there is room beside the two files, and whether each of them takes a write.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rookery_actors::ports::{PortError, PortResult};

use super::{Db, SqliteLog};
use crate::data_dir::private_file;

/// How often it is tried whether the disk takes writes again.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// So much room there must be again: what a busy node writes in a second or so, lest it is full again at once.
const ROOM: usize = 1024 * 1024;

/// Why a commit failed that a writer made, until a write is known to succeed again. Shared by all its clones.
#[derive(Clone, Default)]
pub struct Complaint(Arc<Mutex<Option<String>>>);

impl Complaint {
    pub fn note(&self, error: &PortError) {
        *self.0.lock() = Some(error.to_string());
    }

    pub fn text(&self) -> Option<String> {
        self.0.lock().clone()
    }

    fn withdraw(&self) {
        *self.0.lock() = None;
    }
}

/// The disk under the two files.
pub struct Disk {
    log: Arc<SqliteLog>,
    store: Db,
    /// Written to see whether there is room, and removed.
    trial: PathBuf,
}

impl Disk {
    /// That of a directory, in which both are.
    pub fn new(directory: &Path, log: Arc<SqliteLog>, store: Db) -> Self {
        Self {
            log,
            store,
            trial: directory.join("room.tmp"),
        }
    }

    /// Why no clients should come, if so.
    pub fn complaint(&self) -> Option<String> {
        let of = |what: &str, complaint: &Complaint| Some(format!("{what} cannot be written: {}", complaint.text()?));
        of("the log", self.log.complaint()).or_else(|| of("the store", self.store.complaint()))
    }

    /// Withdraws complaints once the disk takes writes again.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(TRY_EVERY).await;
            if self.complaint().is_none() {
                continue;
            }
            match self.try_to_write().await {
                Ok(()) => {
                    self.log.complaint().withdraw();
                    self.store.complaint().withdraw();
                    tracing::warn!("the disk takes writes again");
                }
                Err(error) => tracing::debug!(%error, "the disk still takes no writes"),
            }
        }
    }

    async fn try_to_write(&self) -> PortResult<()> {
        let (log, trial) = (Arc::clone(&self.log), self.trial.clone());
        let tried = tokio::task::spawn_blocking(move || {
            has_room(&trial).map_err(|error| PortError::Unavailable(format!("{}: {error}", trial.display())))?;
            log.try_to_write()
        });
        tried
            .await
            .map_err(|error| PortError::Broken(format!("a trial of the disk panicked: {error}")))??;
        self.store.try_to_write().await
    }
}

fn has_room(trial: &Path) -> io::Result<()> {
    let written = private_file(trial).and_then(|mut file| {
        file.write_all(&vec![0; ROOM])?;
        file.sync_all()
    });
    written.and(std::fs::remove_file(trial))
}
