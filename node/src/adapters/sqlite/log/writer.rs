//! The log's thread: takes what waits, commits it, tells everybody.

use std::sync::Arc;
use std::time::Instant;

use metrics::{Counter, Histogram};
use rookery_actors::ports::log::{Offset, Report};
use rookery_actors::ports::{PortError, PortResult};
use rookery_cluster::id::ShardId;

use super::Shared;
use super::batch::{Builder, Run};
use super::file::{Change, Failure};
use super::queue::Work;

/// A row ends at the record that takes it beyond this, so that reading a record never means reading much more.
const ROW_BYTES: usize = 512 * 1024;
/// Rows deleted at most in one commit: some milliseconds of work when they are large.
const DELETED_ROWS: usize = 1024;

pub struct Writer {
    shared: Arc<Shared>,
    work: Work,
    /// Of which the first `rows` are in use.
    builders: Vec<Builder>,
    rows: usize,
    /// The file must be read again before it is written: a commit's outcome is unknown.
    stale: bool,
    /// The last commit failed, which was logged.
    failing: bool,
    meter: Meter,
}

struct Meter {
    commits: Counter,
    records: Counter,
    failures: Counter,
    commit_seconds: Histogram,
    commit_records: Histogram,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, shards: u16) -> Self {
        Self {
            shared,
            work: Work::new(shards),
            builders: vec![Builder::default()],
            rows: 0,
            stale: false,
            failing: false,
            meter: Meter {
                commits: metrics::counter!("node_log_commits_total"),
                records: metrics::counter!("node_log_records_total"),
                failures: metrics::counter!("node_log_commit_failures_total"),
                commit_seconds: metrics::histogram!("node_log_commit_seconds"),
                commit_records: metrics::histogram!("node_log_commit_records"),
            },
        }
    }

    pub fn run(mut self) {
        let mut last = (Instant::now(), 0);
        while self.shared.queue.take(&mut self.work, last) {
            last = (Instant::now(), self.work.records);
            let outcome = self.commit();
            self.measure(last.0, &outcome);
            self.report(&outcome);
            self.work.clear();
            self.shared.file.lock().checkpoint();
        }
    }

    /// Makes the work durable; answers the end each busy shard had before, in the order of `work.busy`.
    fn commit(&mut self) -> PortResult<Vec<Offset>> {
        if self.stale {
            self.reload()?;
        }
        let firsts = self.encode();
        match self.write() {
            Ok(()) => Ok(firsts),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Uncertain(error)) => {
                self.stale = true;
                if let Err(error) = self.reload() {
                    tracing::error!(%error, "the log cannot be read after a commit of unknown outcome");
                }
                Err(error)
            }
        }
    }

    fn reload(&mut self) -> PortResult<()> {
        let mut file = self.shared.file.lock();
        let index = file
            .reload()
            .map_err(|error| PortError::Unavailable(format!("the log: {error}")))?;
        *self.shared.index.lock() = index;
        self.stale = false;
        Ok(())
    }

    /// Turns the records that wait into rows.
    fn encode(&mut self) -> Vec<Offset> {
        self.rows = 0;
        let firsts: Vec<Offset> = {
            let index = self.shared.index.lock();
            self.work.busy.iter().map(|shard| index.end(*shard)).collect()
        };
        let mut full = true;
        for (shard, first) in self.work.busy.iter().zip(&firsts) {
            let mut begun = false;
            for (append, offset) in self.work.appends[usize::from(shard.0)].iter().zip(*first..) {
                if full {
                    self.rows += 1;
                    if self.builders.len() < self.rows {
                        self.builders.push(Builder::default());
                    }
                    self.builders[self.rows - 1].clear();
                    begun = false;
                }
                let builder = &mut self.builders[self.rows - 1];
                if !begun {
                    builder.begin(*shard, offset);
                    begun = true;
                }
                builder.push(&append.payload);
                full = builder.len() >= ROW_BYTES;
            }
        }
        // One builder's buffer is kept; more are only needed after a burst.
        self.builders.truncate(self.rows.max(1));
        firsts
    }

    /// Writes rows and positions, and brings the index in step while the file is still locked.
    fn write(&mut self) -> Result<(), Failure> {
        let Self {
            shared,
            work,
            builders,
            rows,
            ..
        } = self;
        let finished: Vec<(&[u8], &[Run])> = builders[..*rows].iter_mut().filter_map(Builder::finish).collect();
        let asked: Vec<(ShardId, Offset)> = work
            .commits
            .iter()
            .flat_map(|commit| commit.positions.clone())
            .collect();
        let mut file = shared.file.lock();
        let (positions, spent) = {
            let index = shared.index.lock();
            // Rows go together with a change of positions, so that a commit of records alone is not held up by it.
            let deleted = if work.commits.is_empty() { 0 } else { DELETED_ROWS };
            (index.news(&asked), index.spent(deleted).to_vec())
        };
        let change = Change {
            rows: finished.iter().map(|(body, _)| *body).collect(),
            positions,
            spent: &spent,
        };
        if change.is_empty() {
            return Ok(());
        }
        let first = file.next_row();
        file.commit(&change)?;
        let mut index = shared.index.lock();
        index.deleted(spent.len());
        index.commit(&change.positions);
        for (row, (_, runs)) in (first..).zip(&finished) {
            index.insert(row, runs.iter().copied()).map_err(Failure::Uncertain)?;
        }
        Ok(())
    }

    fn report(&mut self, outcome: &PortResult<Vec<Offset>>) {
        for (position, shard) in self.work.busy.iter().enumerate() {
            let appends = self.work.appends[usize::from(shard.0)].drain(..);
            let reports = match outcome {
                Ok(firsts) => {
                    let placed = appends.zip(firsts[position]..);
                    placed
                        .map(|(append, offset)| (append.token, Ok(offset)))
                        .map(report)
                        .collect()
                }
                Err(error) => appends
                    .map(|append| (append.token, Err(error.clone())))
                    .map(report)
                    .collect(),
            };
            self.shared.report(*shard, reports);
        }
        for commit in self.work.commits.drain(..) {
            commit
                .answer
                .send(outcome.as_ref().map(|_| ()).map_err(Clone::clone))
                .ok();
        }
    }

    fn measure(&mut self, began: Instant, outcome: &PortResult<Vec<Offset>>) {
        let records = self.work.records;
        self.meter.commits.increment(1);
        self.meter.commit_seconds.record(began.elapsed());
        self.meter.commit_records.record(records as f64);
        match outcome {
            Ok(_) => self.meter.records.increment(records as u64),
            Err(error) => {
                self.meter.failures.increment(1);
                self.shared.complaint.note(error);
            }
        }
        // A full disk fails every commit until there is room: one line when it begins and one when it ends.
        match outcome {
            Err(error) if !self.failing => tracing::error!(%error, records, "the log could not commit"),
            Ok(_) if self.failing => tracing::warn!("the log commits again"),
            _ => {}
        }
        self.failing = outcome.is_err();
    }
}

fn report((token, outcome): (u64, PortResult<Offset>)) -> Report {
    Report { token, outcome }
}
