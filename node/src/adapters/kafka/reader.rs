//! The thread that reads: one consumer, assigned just the partitions that somebody reads from at the moment.
//!
//! With nothing to read it costs nothing: no partition is assigned, so nothing is fetched. That our own records are applied
//! from memory, and other writers' noticed by asking for the ends (`watch.rs`), is why nothing needs to be followed record by
//! record.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::Counter;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset as Place};
use rookery_actors::ports::log::{Offset, Record};
use rookery_actors::ports::{PortError, PortResult};
use tokio::sync::oneshot;

use super::offsets::{Consumer, REQUEST};
use super::reads::{Effect, Range, Reads};

/// Reads that may wait: more than there are shards, so that all can be taken over at once.
const MOST_READS: usize = 8192;
/// How long a read may take: some hundred thousand records.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the thread waits for a record before it looks for new reads.
const TURN: Duration = Duration::from_millis(2);
/// How often an idle consumer is asked for what it has to say, so that it does not pile up.
const IDLE: Duration = Duration::from_secs(1);

type Answer = oneshot::Sender<PortResult<Vec<Record>>>;

/// The way to the reader. It ends when the last handle is dropped.
#[derive(Clone)]
pub struct Handle {
    reads: SyncSender<(Range, Answer)>,
}

impl Handle {
    /// Reads `from..until`, which must stand in the log.
    pub async fn read(&self, shard: u16, from: Offset, until: Offset) -> PortResult<Vec<Record>> {
        let (answer, answered) = oneshot::channel();
        let range = Range {
            shard,
            from,
            until,
            deadline: Instant::now() + PATIENCE,
        };
        let sent = self.reads.try_send((range, answer));
        sent.map_err(|error| match error {
            TrySendError::Full(_) => PortError::Unavailable("read Kafka: too many reads wait".into()),
            TrySendError::Disconnected(_) => ended(),
        })?;
        answered.await.map_err(|_| ended())?
    }
}

fn ended() -> PortError {
    PortError::Unavailable("read Kafka: the log is closed".into())
}

/// The thread's own part.
pub struct Reader {
    consumer: Consumer,
    asked: Receiver<(Range, Answer)>,
    reads: Reads<Answer>,
    records: Counter,
}

impl Reader {
    pub fn new(consumer: Consumer) -> (Self, Handle) {
        let (reads, asked) = mpsc::sync_channel(MOST_READS);
        let reader = Self {
            consumer,
            asked,
            reads: Reads::default(),
            records: metrics::counter!("node_kafka_records_read_total"),
        };
        (reader, Handle { reads })
    }

    /// Until the last handle is gone.
    pub fn run(mut self) {
        loop {
            if self.reads.is_idle() {
                match self.asked.recv_timeout(IDLE) {
                    Ok((range, answer)) => self.begin(range, answer),
                    Err(RecvTimeoutError::Timeout) => while self.consumer.inner().poll(Duration::ZERO).is_some() {},
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            while let Ok((range, answer)) = self.asked.try_recv() {
                self.begin(range, answer);
            }
            self.turn();
        }
    }

    fn begin(&mut self, range: Range, answer: Answer) {
        let effects = self.reads.ask(range, answer);
        self.act(effects);
    }

    /// Takes what has come, and gives up what comes no more.
    fn turn(&mut self) {
        let mut wait = TURN;
        while !self.reads.is_idle() {
            let polled = self.consumer.inner().poll(wait).map(|polled| {
                polled.map(|message| {
                    let payload = Bytes::copy_from_slice(message.payload().unwrap_or_default());
                    (message.partition(), message.offset(), payload)
                })
            });
            match polled {
                None => break,
                Some(Ok((partition, offset, payload))) => {
                    self.records.increment(1);
                    let shard = u16::try_from(partition).unwrap_or(u16::MAX);
                    let effects = self.reads.take(shard, offset.cast_unsigned(), payload);
                    self.act(effects);
                }
                Some(Err(error)) => self.failed(&error),
            }
            wait = Duration::ZERO;
        }
        let effects = self.reads.expire(Instant::now());
        self.act(effects);
    }

    /// An error does not say which partition it is about. The one that lasts is a position retention has deleted: so it is
    /// asked where the partitions begin. All others pass, or the read's deadline does.
    fn failed(&mut self, error: &KafkaError) {
        tracing::debug!(%error, "a read of Kafka");
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AutoOffsetReset) {
            return;
        }
        let shards = self.reads.shards();
        match self.consumer.bounds_now(&shards, Place::Beginning, REQUEST) {
            Ok(firsts) => {
                for (shard, first) in shards.into_iter().zip(firsts) {
                    let effects = self.reads.begins(shard, first);
                    self.act(effects);
                }
            }
            Err(error) => tracing::debug!(%error, "where the log begins"),
        }
    }

    fn act(&self, effects: Vec<Effect<Answer>>) {
        for effect in effects {
            match effect {
                Effect::Fetch(shard, from) => {
                    let list = self.consumer.list([(shard, Place::Offset(from.cast_signed()))]);
                    self.done("begin to fetch", self.consumer.inner().incremental_assign(&list));
                }
                Effect::Leave(shard) => {
                    let list = self.consumer.list([(shard, Place::Invalid)]);
                    self.done("end to fetch", self.consumer.inner().incremental_unassign(&list));
                }
                Effect::Answer(answer, outcome) => {
                    answer.send(outcome).ok();
                }
            }
        }
    }

    /// What cannot be assigned brings no records: the read's deadline answers it.
    fn done(&self, what: &str, outcome: Result<(), KafkaError>) {
        if let Err(error) = outcome {
            tracing::error!(%error, what, "the reader of Kafka");
        }
    }
}
