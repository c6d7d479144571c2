//! What the brokers know of positions: where partitions end and begin, and how far the group has committed. Every call blocks,
//! so it runs on a thread that may.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset as Place, TopicPartitionList};
use rookery_actors::ports::log::Offset;
use rookery_actors::ports::{PortError, PortResult};

use super::Settings;
use super::client::{self, Quiet, request_error};

/// How long a request to the brokers may take before the caller is told that they are away.
pub const REQUEST: Duration = Duration::from_secs(5);
/// The pause before a request is sent again that met a broker that leads a partition no more, or not yet.
const PAUSE: Duration = Duration::from_millis(100);

/// The one consumer of a log, and the topic it is for.
#[derive(Clone)]
pub struct Consumer {
    inner: Arc<BaseConsumer<Quiet>>,
    topic: Arc<str>,
    brokers: Arc<str>,
}

impl Consumer {
    pub fn new(inner: BaseConsumer<Quiet>, settings: &Settings) -> Self {
        Self {
            inner: Arc::new(inner),
            topic: settings.topic.as_str().into(),
            brokers: settings.brokers.as_str().into(),
        }
    }

    pub fn inner(&self) -> &BaseConsumer<Quiet> {
        &self.inner
    }

    /// Runs a call that blocks where it may.
    pub async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&BaseConsumer<Quiet>) -> KafkaResult<T> + Send + 'static,
    ) -> KafkaResult<T> {
        let inner = Arc::clone(&self.inner);
        let ran = tokio::task::spawn_blocking(move || call(&inner)).await;
        ran.unwrap_or(Err(KafkaError::Canceled))
    }

    async fn with<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Self) -> PortResult<T> + Send + 'static,
    ) -> PortResult<T> {
        let this = self.clone();
        let ran = tokio::task::spawn_blocking(move || call(&this)).await;
        ran.unwrap_or_else(|error| Err(PortError::Broken(format!("ask Kafka: {error}"))))
    }

    /// Where these shards end.
    pub async fn ends(&self, shards: Vec<u16>) -> PortResult<Vec<Offset>> {
        self.with(move |this| this.bounds_now(&shards, Place::End, REQUEST))
            .await
    }

    /// How far these shards are committed.
    pub async fn committed(&self, shards: Vec<u16>) -> PortResult<Vec<Offset>> {
        self.with(move |this| this.committed_now(&shards)).await
    }

    /// Commits, but never below what is committed already: `(shard, next)`.
    pub async fn commit(&self, positions: Vec<(u16, Offset)>) -> PortResult<()> {
        self.with(move |this| this.commit_now(&positions)).await
    }

    pub fn list(&self, positions: impl IntoIterator<Item = (u16, Place)>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (shard, place) in positions {
            list.add_partition_offset(&self.topic, shard.into(), place)
                .expect("a position of ours is no negative number");
        }
        list
    }

    /// Where partitions end (`Place::End`) or begin (`Place::Beginning`), in the order asked. Asked again while leaders change,
    /// as long as the caller has patience.
    pub fn bounds_now(&self, shards: &[u16], place: Place, patience: Duration) -> PortResult<Vec<Offset>> {
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + patience;
        loop {
            let list = self.list(shards.iter().map(|shard| (*shard, place)));
            // The library takes these two places for the times they stand for in the protocol.
            let failure = match self.inner.offsets_for_times(list, patience) {
                Ok(answer) => match positions(&answer) {
                    Ok(found) => return Ok(found),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if Instant::now() >= deadline || !is_passing(&failure) {
                return Err(request_error("ask Kafka where partitions end", &failure));
            }
            std::thread::sleep(PAUSE);
            self.inner.fetch_metadata(Some(&self.topic), patience).ok();
        }
    }

    /// Whether any broker answers at all.
    pub fn is_answered(&self, patience: Duration) -> bool {
        self.inner.fetch_metadata(Some(&self.topic), patience).is_ok()
    }

    /// Where nobody answers, it may be that nobody is asked.
    pub fn meet_again(&self) {
        client::meet_again(self.inner.client(), &self.brokers);
    }

    /// Committed positions in the order asked. Where none was ever committed, or the broker forgot it, the first kept record.
    pub fn committed_now(&self, shards: &[u16]) -> PortResult<Vec<Offset>> {
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.committed_if_any(shards)?;
        if known.iter().all(Option::is_some) {
            return Ok(known.into_iter().flatten().collect());
        }
        let first = self.bounds_now(shards, Place::Beginning, REQUEST)?;
        for ((shard, first), _) in shards
            .iter()
            .zip(&first)
            .zip(&known)
            .filter(|((_, first), known)| **first > 0 && known.is_none())
        {
            tracing::warn!(
                shard,
                first,
                "the group has no position of this shard: it begins at the first kept record"
            );
        }
        Ok(known
            .into_iter()
            .zip(first)
            .map(|(known, first)| known.unwrap_or(first))
            .collect())
    }

    fn committed_if_any(&self, shards: &[u16]) -> PortResult<Vec<Option<Offset>>> {
        let list = self.list(shards.iter().map(|shard| (*shard, Place::Invalid)));
        let failed = |error: KafkaError| request_error("ask Kafka for committed positions", &error);
        let answer = self.inner.committed_offsets(list, REQUEST).map_err(failed)?;
        let elements = answer.elements();
        let position = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            element.error().map_err(failed)?;
            Ok(match element.offset() {
                Place::Offset(offset) => Some(offset.cast_unsigned()),
                _ => None,
            })
        };
        elements.iter().map(position).collect()
    }

    /// See [`commit`](Self::commit). The broker takes whatever comes last, so what is there is asked first: a late commit of a
    /// node that lost a shard does not rewind it, but for one that falls between this question and this commit.
    pub fn commit_now(&self, positions: &[(u16, Offset)]) -> PortResult<()> {
        let shards: Vec<u16> = positions.iter().map(|(shard, _)| *shard).collect();
        if shards.is_empty() {
            return Ok(());
        }
        let known = self.committed_if_any(&shards)?;
        let ahead = positions.iter().zip(known);
        let ahead = ahead.filter(|((_, next), known)| known.is_none_or(|known| *next > known));
        self.put(ahead.map(|(position, _)| *position))
    }

    /// Commits as it is told, also what stands there already, so that the broker does not forget it.
    pub fn put(&self, positions: impl Iterator<Item = (u16, Offset)>) -> PortResult<()> {
        let list = self.list(positions.map(|(shard, next)| (shard, Place::Offset(next.cast_signed()))));
        if list.count() == 0 {
            return Ok(());
        }
        let committed = self.inner.commit(&list, CommitMode::Sync);
        committed.map_err(|error| request_error("commit positions to Kafka", &error))
    }
}

/// The offsets of an answer, or its first error.
fn positions(answer: &TopicPartitionList) -> KafkaResult<Vec<Offset>> {
    let position = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        element.error()?;
        match element.offset() {
            Place::Offset(offset) => Ok(offset.cast_unsigned()),
            _ => Err(KafkaError::OffsetFetch(
                rdkafka::types::RDKafkaErrorCode::OffsetNotAvailable,
            )),
        }
    };
    answer.elements().iter().map(position).collect()
}

/// Whether the error is over as soon as another leader is known.
fn is_passing(error: &KafkaError) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::OffsetNotAvailable
                | Code::ReplicaNotAvailable
                | Code::BrokerTransportFailure
                | Code::DestroyBroker
                // What the library answers when it knows no leader of anything asked for. It does not ask the brokers again by
                // itself, so one look while a broker that stood still had lost its partitions would be the last one.
                | Code::UnknownPartition
        )
    )
}
