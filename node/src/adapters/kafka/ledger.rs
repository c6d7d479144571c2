//! The appends of all shards on their way: admits them within the bounds, and reports each once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use metrics::{Counter, Histogram};
use parking_lot::{Mutex, RwLock};
use rookery_actors::ports::PortError;
use rookery_actors::ports::log::{Offset, Report, Reports};
use rookery_cluster::id::ShardId;

use super::client::{Health, MAX_BYTES, MAX_RECORD, MAX_RECORDS};
use super::gate::{Gate, Ready};
use super::outstanding::{Outstanding, Refusal, Settled};

/// See the module. A shard's lock is held while a record goes to the gate, and never while reports go out.
pub struct Ledger {
    shards: Vec<Mutex<Outstanding>>,
    records: AtomicUsize,
    bytes: AtomicUsize,
    serial: AtomicUsize,
    reports: RwLock<Option<Arc<dyn Reports>>>,
    health: Arc<Health>,
    gate: Gate,
    meter: Meter,
}

struct Meter {
    kept: Counter,
    refused: Counter,
    unknown: Counter,
    late: Counter,
    seconds: Histogram,
}

impl Ledger {
    pub fn new(shards: u16, health: Arc<Health>) -> Self {
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            serial: AtomicUsize::new(0),
            reports: RwLock::new(None),
            health,
            gate: Gate::default(),
            meter: Meter {
                kept: metrics::counter!("node_log_records_total"),
                refused: metrics::counter!("node_log_refused_total"),
                unknown: metrics::counter!("node_kafka_unknown_total"),
                late: metrics::counter!("node_kafka_late_total"),
                seconds: metrics::histogram!("node_kafka_append_seconds"),
            },
        }
    }

    pub fn start(&self, reports: Arc<dyn Reports>) {
        *self.reports.write() = Some(reports);
    }

    /// Where the producer's thread takes what is admitted.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Whether an append waits for its report.
    pub fn is_waiting(&self) -> bool {
        self.records.load(Ordering::Relaxed) > 0
    }

    /// Admits a record, or says why not: then it is surely not in the log.
    pub fn append(&self, shard: ShardId, payload: Bytes, token: u64) -> Result<(), PortError> {
        let Some(outstanding) = self.shards.get(usize::from(shard.0)) else {
            return Err(PortError::Broken(format!("the log has no shard {shard}")));
        };
        let bytes = payload.len();
        if bytes > MAX_RECORD {
            return Err(PortError::Broken(format!(
                "a record of {bytes} bytes is too large for the log"
            )));
        }
        if self.health.is_away() {
            return Err(PortError::Unavailable("no Kafka broker answers".into()));
        }
        if !self.reserve(bytes) {
            return Err(PortError::Unavailable(
                "the log is behind: too many records wait".into(),
            ));
        }
        let now = Instant::now();
        let mut outstanding = outstanding.lock();
        let admitted = outstanding.admit(now).map_err(refused).and_then(|()| {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            let ready = Ready { shard, payload, serial };
            if !self.gate.push(ready) {
                return Err(PortError::Unavailable("the log is closed".into()));
            }
            outstanding.push(serial, token, now);
            Ok(())
        });
        admitted.inspect_err(|_| self.release(bytes))
    }

    fn reserve(&self, bytes: usize) -> bool {
        let records = self.records.fetch_add(1, Ordering::Relaxed);
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = records < MAX_RECORDS && waiting + bytes <= MAX_BYTES;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    fn release(&self, bytes: usize) {
        self.records.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// An append was answered; gives back what is to be reported.
    pub fn settle(
        &self,
        shard: ShardId,
        serial: usize,
        bytes: usize,
        outcome: Result<Offset, PortError>,
    ) -> Option<Report> {
        self.release(bytes);
        let mut outstanding = self.shards[usize::from(shard.0)].lock();
        let settled = outstanding.settle(serial);
        let Settled::Due { token, since } = settled else {
            drop(outstanding);
            self.meter.late.increment(1);
            tracing::debug!(%shard, ?outcome, "an append that was given up is settled");
            return None;
        };
        let in_order = outcome.as_ref().is_ok_and(|offset| outstanding.stands(*offset));
        drop(outstanding);
        match &outcome {
            Ok(offset) => {
                self.health.set_away(false);
                self.meter.kept.increment(1);
                self.meter.seconds.record(since.elapsed());
                if !in_order {
                    tracing::error!(%shard, offset, "a record stands before an earlier one of this node");
                }
            }
            Err(PortError::Unknown(_)) => self.meter.unknown.increment(1),
            Err(PortError::Unavailable(_)) => self.meter.refused.increment(1),
            Err(error) => tracing::error!(%shard, %error, "Kafka refused a record"),
        }
        Some(Report { token, outcome })
    }

    /// Behind the last record of ours that is known to stand in a shard.
    pub fn end(&self, shard: u16) -> Offset {
        self.shards[usize::from(shard)].lock().end()
    }

    /// Gives up what has waited longer than `patience`.
    pub fn expire(&self, patience: std::time::Duration) {
        if self.records.load(Ordering::Relaxed) == 0 {
            return;
        }
        let now = Instant::now();
        for (number, outstanding) in (0..).zip(&self.shards) {
            let tokens = outstanding.lock().expire(now, patience);
            if tokens.is_empty() {
                continue;
            }
            self.meter.unknown.increment(tokens.len() as u64);
            let late = || PortError::Unknown("append to Kafka: no broker answered in time".into());
            let report = |token| Report {
                token,
                outcome: Err(late()),
            };
            self.report(ShardId(number), tokens.into_iter().map(report).collect());
        }
    }

    /// Reports an append that was not even tried.
    pub fn refuse(&self, shard: ShardId, token: u64, refusal: PortError) {
        if matches!(refusal, PortError::Unavailable(_)) {
            self.meter.refused.increment(1);
        }
        let outcome = Err(refusal);
        self.report(shard, vec![Report { token, outcome }]);
    }

    /// Hands over reports of one shard, in the order in which the records stand.
    pub fn report(&self, shard: ShardId, batch: Vec<Report>) {
        self.tell(shard, |reports| reports.appended(shard, batch));
    }

    /// Others wrote into a shard.
    pub fn grew(&self, shard: u16, end: Offset) {
        let shard = ShardId(shard);
        self.tell(shard, |reports| reports.grew(shard, end));
    }

    /// A panic of the receiver must not end the log.
    fn tell(&self, shard: ShardId, tell: impl FnOnce(&dyn Reports)) {
        let Some(reports) = self.reports.read().clone() else {
            return;
        };
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tell(&*reports)));
        if told.is_err() {
            tracing::error!(%shard, "the receiver of the log's reports panicked");
        }
    }
}

fn refused(refusal: Refusal) -> PortError {
    let why = match refusal {
        Refusal::Stalled => "the broker of this shard has not answered for seconds",
        Refusal::Unsettled => "the outcome of an earlier record of this shard is not known yet",
    };
    PortError::Unavailable(format!("append to Kafka: {why}"))
}
