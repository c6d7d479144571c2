//! What was appended, what was reported, and what stands in the log: held against each other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rookery_actors::ports::PortError;
use rookery_actors::ports::log::{EventLog, Offset, Record, Report};
use rookery_cluster::id::ShardId;
use rookery_node::adapters::kafka::KafkaLog;

pub fn payload(token: u64) -> Bytes {
    let mut payload = token.to_le_bytes().to_vec();
    payload.resize(200, token as u8);
    payload.into()
}

pub fn token(record: &Record) -> u64 {
    assert_eq!(record.payload.len(), 200, "a torn record");
    u64::from_le_bytes(record.payload[..8].try_into().unwrap())
}

/// How many reports said what.
#[derive(Debug, Default)]
pub struct Tally {
    pub kept: usize,
    pub refused: usize,
    pub unknown: usize,
    /// Of the unknown, those that stand in the log.
    pub late: usize,
}

/// Every append of tokens `0..count` must be reported once; what was kept stands where it was said to; what was refused does
/// not stand; nothing stands twice; and each shard's tokens, which were appended in rising order, stand in it.
pub async fn judge(log: &KafkaLog, shards: u16, count: u64, reports: &[(ShardId, Report)]) -> Tally {
    let mut seen = HashSet::new();
    let mut outcomes: HashMap<u64, &Result<Offset, PortError>> = HashMap::new();
    for (_, report) in reports {
        assert!(seen.insert(report.token), "append {} was reported twice", report.token);
        outcomes.insert(report.token, &report.outcome);
    }
    assert_eq!(seen.len() as u64, count, "appends without a report");
    let stands = everything(log, shards).await;
    let mut tally = Tally::default();
    for (shard, report) in reports {
        let place = stands[&shard.0].iter().position(|token| *token == report.token);
        match &report.outcome {
            Ok(offset) => {
                assert_eq!(
                    place,
                    Some(*offset as usize),
                    "append {} in shard {shard}",
                    report.token
                );
                tally.kept += 1;
            }
            Err(PortError::Unavailable(_)) => {
                assert_eq!(place, None, "append {} was refused, and stands", report.token);
                tally.refused += 1;
            }
            Err(PortError::Unknown(_)) => {
                tally.unknown += 1;
                tally.late += usize::from(place.is_some());
            }
            Err(PortError::Broken(error)) => panic!("{error}"),
        }
    }
    for (shard, tokens) in &stands {
        assert!(tokens.is_sorted(), "shard {shard} was reordered");
        let distinct: HashSet<_> = tokens.iter().collect();
        assert_eq!(distinct.len(), tokens.len(), "shard {shard} has a record twice");
    }
    println!("{tally:?}");
    tally
}

/// The tokens that stand in each shard.
pub async fn everything(log: &KafkaLog, shards: u16) -> BTreeMap<u16, Vec<u64>> {
    let mut stands = BTreeMap::new();
    for shard in 0..shards {
        let records = log.read(ShardId(shard), 0, usize::MAX).await.expect("read");
        stands.insert(shard, records.iter().map(token).collect());
    }
    stands
}

/// Appends tokens 0, 1, 2, ... over the shards at an even rate until it is told to stop; answers how many.
pub async fn append(log: &KafkaLog, shards: u16, a_second: u64, stop: &AtomicBool) -> u64 {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let mut next = 0;
    let began = tokio::time::Instant::now();
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let due = began.elapsed().as_millis() as u64 * a_second / 1000;
        for token in next..due {
            log.append(ShardId((token % u64::from(shards)) as u16), payload(token), token);
        }
        next = due;
    }
    next
}
