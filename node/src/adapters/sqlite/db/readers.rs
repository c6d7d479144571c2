//! A bounded number of threads that answer queries, each with a connection of its own.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use metrics::{Counter, Histogram};
use parking_lot::{Condvar, Mutex};
use rookery_actors::ports::{PortError, PortResult};
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::{port_error, reading};

/// Queries that may wait for a thread; beyond it callers wait for room.
const WAITING_QUERIES: usize = 1024;
/// Reader threads: one a core, but at least two, so that a long query does not hold up all others, and no more than the
/// file's page cache can feed.
const READERS: std::ops::RangeInclusive<usize> = 2..=8;

/// Takes a connection, answers its caller, and gives the connection back if it is still good.
type Query = Box<dyn FnOnce(PortResult<Connection>) -> Option<Connection> + Send>;

pub(super) struct Readers {
    shared: Arc<Shared>,
    room: Semaphore,
    threads: Vec<JoinHandle<()>>,
    reads: Counter,
    seconds: Histogram,
}

struct Shared {
    path: PathBuf,
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Query>,
    closed: bool,
}

impl Readers {
    pub(super) fn start(path: &Path) -> PortResult<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut readers = Self {
            shared: Arc::new(Shared {
                path: path.into(),
                queue: Mutex::default(),
                ready: Condvar::new(),
            }),
            room: Semaphore::new(WAITING_QUERIES),
            threads: Vec::new(),
            reads: metrics::counter!("node_store_reads_total"),
            seconds: metrics::histogram!("node_store_read_seconds"),
        };
        for _ in 0..cores.clamp(*READERS.start(), *READERS.end()) {
            let shared = Arc::clone(&readers.shared);
            let thread = std::thread::Builder::new()
                .name("store-reader".into())
                .spawn(move || shared.serve())
                .map_err(|error| PortError::Broken(format!("start a reader of the store: {error}")))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    pub(super) async fn read<T, F>(&self, query: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let closed = || PortError::Unavailable("the store is closed".into());
        let began = Instant::now();
        let _room = self.room.acquire().await.map_err(|_| closed())?;
        let (answer, answered) = oneshot::channel();
        self.shared.push(Box::new(move |connection| {
            let connection = match connection {
                Ok(connection) => connection,
                Err(error) => {
                    answer.send(Err(error)).ok();
                    return None;
                }
            };
            // A caller that went away is spared the work.
            if answer.is_closed() {
                return Some(connection);
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| in_snapshot(&connection, query)));
            let good = outcome.is_ok();
            let outcome = match outcome {
                Ok(outcome) => outcome.map_err(|error| port_error(&error)),
                Err(_) => Err(PortError::Broken("a query of the store panicked".into())),
            };
            answer.send(outcome).ok();
            good.then_some(connection)
        }));
        let outcome = answered.await.map_err(|_| closed())?;
        self.reads.increment(1);
        self.seconds.record(began.elapsed());
        outcome
    }
}

/// One query sees one state of the file, however many statements it has.
fn in_snapshot<T>(
    connection: &Connection,
    query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let outcome = query(connection);
    connection.prepare_cached("COMMIT")?.execute([])?;
    outcome
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.ready.notify_all();
        for thread in self.threads.drain(..) {
            // A query may hold the last handle; its thread then ends by itself.
            if thread.thread().id() != std::thread::current().id() {
                thread.join().ok();
            }
        }
    }
}

impl Shared {
    fn push(&self, query: Query) {
        self.queue.lock().waiting.push_back(query);
        self.ready.notify_one();
    }

    fn next(&self) -> Option<Query> {
        let mut queue = self.queue.lock();
        loop {
            match queue.waiting.pop_front() {
                Some(query) => return Some(query),
                None if queue.closed => return None,
                None => self.ready.wait(&mut queue),
            }
        }
    }

    fn serve(&self) {
        let mut connection = None;
        while let Some(query) = self.next() {
            let opened = match connection.take() {
                Some(connection) => Ok(connection),
                None => reading(&self.path).map_err(|error| port_error(&error)),
            };
            connection = query(opened);
        }
    }
}
