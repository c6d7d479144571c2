//! The one thread that writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{Counter, Histogram};
use rookery_actors::ports::{PortError, PortResult};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::super::disk::Complaint;
use super::{commit_error, port_error};

/// Jobs that may wait for the writer; beyond it callers wait for room.
const WAITING_JOBS: usize = 4096;
/// Jobs that share a transaction at most, so that no caller waits for ever.
const JOBS_A_COMMIT: usize = 512;
/// Commits begin so far apart while several jobs share each: a commit costs far more than what it carries.
const PACE: Duration = Duration::from_millis(8);
/// From so many jobs a commit on, others come meanwhile. A single caller, one job after the other, never waits.
const BUSY: usize = 2;

/// The sending side; dropping it lets the thread finish what waits and joins it.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection, complaint: Complaint) -> PortResult<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING_JOBS);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(connection, waiting, complaint))
            .map_err(|error| PortError::Broken(format!("start the store's writer: {error}")))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    pub(super) async fn write<T, F>(&self, job: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let closed = || PortError::Unavailable("the store is closed".into());
        let jobs = self.jobs.as_ref().ok_or_else(closed)?;
        let (answer, answered) = oneshot::channel();
        let write = Write {
            job: Some(job),
            outcome: None,
            answer,
        };
        jobs.send(Box::new(write)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            // A job may hold the last handle; its thread then ends by itself.
            && thread.thread().id() != std::thread::current().id()
        {
            thread.join().ok();
        }
    }
}

/// Something to be done in a transaction and answered after its commit.
trait Job: Send {
    /// Does it; false when its effects must be undone.
    fn run(&mut self, transaction: &Transaction<'_>) -> bool;
    /// Answers, told how the transaction ended.
    fn settle(self: Box<Self>, end: &PortResult<()>);
}

struct Write<T, F> {
    job: Option<F>,
    outcome: Option<PortResult<T>>,
    answer: oneshot::Sender<PortResult<T>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, transaction: &Transaction<'_>) -> bool {
        let Some(job) = self.job.take() else { return true };
        let outcome = match catch_unwind(AssertUnwindSafe(|| job(transaction))) {
            Ok(outcome) => outcome.map_err(|error| port_error(&error)),
            Err(_) => Err(PortError::Broken("a write to the store panicked".into())),
        };
        self.outcome.insert(outcome).is_ok()
    }

    fn settle(self: Box<Self>, end: &PortResult<()>) {
        let answer = match (self.outcome, end) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(end)) => Err(end.clone()),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(PortError::Broken("a write to the store was passed over".into())),
        };
        self.answer.send(answer).ok();
    }
}

fn run(mut connection: Connection, mut waiting: mpsc::Receiver<Box<dyn Job>>, complaint: Complaint) {
    let mut meter = Meter::new(complaint);
    let mut batch = Vec::new();
    let mut next = Instant::now();
    while waiting.blocking_recv_many(&mut batch, JOBS_A_COMMIT) > 0 {
        if let Some(pause) = next.checked_duration_since(Instant::now()) {
            std::thread::sleep(pause);
            let room = JOBS_A_COMMIT - batch.len();
            batch.extend(std::iter::from_fn(|| waiting.try_recv().ok()).take(room));
        }
        let began = Instant::now();
        let end = commit(&mut connection, &mut batch);
        meter.note(began, batch.len(), &end);
        if batch.len() >= BUSY {
            next = began + PACE;
        }
        for job in batch.drain(..) {
            job.settle(&end);
        }
    }
}

/// What is counted of the commits, and whether the last one failed.
struct Meter {
    commits: Counter,
    failures: Counter,
    seconds: Histogram,
    writes: Histogram,
    failing: bool,
    complaint: Complaint,
}

impl Meter {
    fn new(complaint: Complaint) -> Self {
        Self {
            commits: metrics::counter!("node_store_commits_total"),
            failures: metrics::counter!("node_store_commit_failures_total"),
            seconds: metrics::histogram!("node_store_commit_seconds"),
            writes: metrics::histogram!("node_store_commit_writes"),
            failing: false,
            complaint,
        }
    }

    fn note(&mut self, began: Instant, writes: usize, end: &PortResult<()>) {
        self.commits.increment(1);
        self.seconds.record(began.elapsed());
        self.writes.record(writes as f64);
        if let Err(error) = end {
            self.failures.increment(1);
            self.complaint.note(error);
        }
        // A full disk fails every commit until there is room: one line when it begins and one when it ends.
        match end {
            Err(error) if !self.failing => tracing::error!(%error, writes, "the store could not commit"),
            Ok(()) if self.failing => tracing::warn!("the store commits again"),
            _ => {}
        }
        self.failing = end.is_err();
    }
}

fn commit(connection: &mut Connection, batch: &mut [Box<dyn Job>]) -> PortResult<()> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| port_error(&error))?;
    // A lone job needs no savepoint, and is spared the copies of pages that one costs.
    if let [job] = batch {
        if !job.run(&transaction) && !transaction.is_autocommit() {
            return Ok(());
        }
    } else {
        for job in batch {
            in_savepoint(&transaction, job.as_mut())?;
        }
    }
    if transaction.is_autocommit() {
        return Err(rolled_back());
    }
    transaction.commit().map_err(|error| commit_error(&error))
}

fn in_savepoint(transaction: &Transaction<'_>, job: &mut dyn Job) -> PortResult<()> {
    let execute = |sql| {
        let done = transaction.prepare_cached(sql).and_then(|mut it| it.execute([]));
        done.map(|_| ()).map_err(|error| port_error(&error))
    };
    execute("SAVEPOINT job")?;
    let keep = job.run(transaction);
    if transaction.is_autocommit() {
        return Err(rolled_back());
    }
    if !keep {
        execute("ROLLBACK TO job")?;
    }
    execute("RELEASE job")
}

/// SQLite rolls the whole transaction back by itself on some errors (a full disk among them); nothing of it is there then.
fn rolled_back() -> PortError {
    PortError::Unavailable("sqlite rolled the transaction back".into())
}
