//! Promise: the embedded event log and the embedded store of conversations keep every clause of their ports. Proven by the
//! suites that any adapter of those ports must pass, over real files, with restarts in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rookery_actors::ports::log::EventLog;
use rookery_actors::testkit::chats::World;
use rookery_actors::testkit::{chats, log};
use rookery_node::adapters::sqlite::accounts::SqliteAccounts;
use rookery_node::adapters::sqlite::{SqliteChats, SqliteLog, schema};

/// Fresh places for databases, and the one in use.
struct Places {
    dir: tempfile::TempDir,
    count: AtomicU64,
    current: Mutex<PathBuf>,
}

impl Places {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            count: AtomicU64::new(0),
            current: Mutex::default(),
        }
    }

    fn next(&self) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.path().join(format!("{number}.db"));
        self.current.lock().clone_from(&path);
        path
    }

    fn current(&self) -> PathBuf {
        self.current.lock().clone()
    }
}

fn open_log(path: &Path) -> Arc<dyn EventLog> {
    Arc::new(SqliteLog::open(path, 16).expect("the log opens"))
}

fn open_store(path: &Path) -> World {
    let db = schema::open(path).expect("the store opens");
    World {
        chats: Arc::new(SqliteChats::new(db.clone())),
        accounts: Arc::new(SqliteAccounts::new(db)),
    }
}

#[tokio::test]
async fn the_embedded_log_keeps_its_contract() {
    let places = Places::new();
    let reopened = async |log| {
        drop(log);
        open_log(&places.current())
    };
    log::suite(async || open_log(&places.next()), reopened).await;
}

#[tokio::test]
async fn the_embedded_store_of_conversations_keeps_its_contract() {
    let places = Places::new();
    let reopened = async |world| {
        drop(world);
        open_store(&places.current())
    };
    chats::suite(async || open_store(&places.next()), reopened).await;
}
