//! Committed positions, and records that retention has deleted.

use bytes::Bytes;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use rookery_actors::ports::PortError;
use rookery_actors::ports::log::EventLog;
use rookery_node::adapters::kafka::{KafkaLog, Settings};

use super::{A, B, Heard, PATIENCE, open, settings, texts};
use crate::support;

async fn filled(log: &KafkaLog, count: u64) {
    let heard = Heard::by(log);
    for token in 0..count {
        log.append(A, Bytes::from(token.to_string()), token);
    }
    heard.take(count as usize).await;
}

/// What an ordinary tool sees of the group.
async fn seen_by_others(settings: &Settings) -> Offset {
    let settings = settings.clone();
    let ask = move || {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &settings.brokers)
            .set("group.id", &settings.group);
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(&settings.topic, A.0.into());
        let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
        committed.elements()[0].offset()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_positions_are_the_groups() {
    let settings = settings(&support::kafka());
    let log = open(&settings, 4).await;
    filled(&log, 5).await;
    assert_eq!(seen_by_others(&settings).await, Offset::Invalid);
    log.commit(vec![(A, 3)]).await.expect("commit");
    assert_eq!(seen_by_others(&settings).await, Offset::Offset(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_late_commit_of_a_node_that_lost_the_shard_rewinds_nothing() {
    let settings = settings(&support::kafka());
    let (lost, gained) = (open(&settings, 4).await, open(&settings, 4).await);
    filled(&lost, 10).await;
    lost.commit(vec![(A, 2)]).await.expect("commit");
    gained.commit(vec![(A, 9)]).await.expect("commit");
    lost.commit(vec![(A, 5), (B, 0)]).await.expect("commit late");
    assert_eq!(seen_by_others(&settings).await, Offset::Offset(9));
    assert_eq!(lost.committed().await.expect("committed")[0], 9);
    assert_eq!(gained.committed().await.expect("committed")[0], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_deleted_is_broken_and_the_rest_is_read() {
    let settings = settings(&support::kafka());
    let log = open(&settings, 4).await;
    filled(&log, 10).await;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.brokers);
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&settings.topic, 0, Offset::Offset(6))
        .unwrap();
    admin
        .delete_records(&list, &AdminOptions::new())
        .await
        .expect("deleted");

    let read = log.read(A, 5, 2).await;
    assert!(matches!(read, Err(PortError::Broken(_))), "{read:?}");
    assert_eq!(texts(&log, A, 6).await, ["6", "7", "8", "9"]);
    assert_eq!(log.ends().await.expect("ends")[0], 10);
    // Nobody ever committed: there is nothing before the first kept record to go on from.
    assert_eq!(log.committed().await.expect("committed")[0], 6);
}
