//! Port: the event log. One totally ordered, append-only sequence of records a shard; the truth from which everything
//! else is derived.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rookery_cluster::id::ShardId;

use super::{PortError, PortResult};

/// Position of a record in its shard: 0, 1, 2, ... without holes.
pub type Offset = u64;

/// A record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: Offset,
    pub payload: Bytes,
}

/// What became of one append.
#[derive(Clone, Debug)]
pub struct Report {
    /// The caller's own mark, given to `append`.
    pub token: u64,
    /// Where the record stands, durable; or why it does not. `Unavailable` means it surely is not in the log, `Unknown`
    /// that it may be.
    pub outcome: Result<Offset, PortError>,
}

/// Takes the reports of appends. Called from the log's own thread, or from within `append` for one that is refused at once,
/// so it must not block nor take a lock that a caller of `append` holds.
pub trait Reports: Send + Sync + 'static {
    /// Reports of one shard, in the order in which the records stand in the log. Everything that one group commit made
    /// durable for a shard comes in one call.
    fn appended(&self, shard: ShardId, reports: Vec<Report>);

    /// Everything before `end` stands in the log, and not all of it is known to be ours: some of it was appended by another
    /// writer, or is an append of ours that was reported `Unknown`. It may be said more than once, and now and then of a record
    /// of our own whose report is on its way: who has read that far has nothing to do. Said only of followed shards.
    fn grew(&self, _shard: ShardId, _end: Offset) {}
}

/// The event log.
///
/// * `append` never blocks and keeps the order of calls within a shard. Every append is reported exactly once and within
///   seconds, after it is durable (fsynced, or acknowledged by all in-sync replicas), by the `Reports` given to `start`.
/// * An append may be called for any shard, whoever owns it: the log orders the records of several writers.
/// * An append that was reported `Unknown` may come to stand in the log later; `Reports::grew` tells of it. Until its fate is
///   settled, further appends to that shard are reported `Unavailable`, so that none of ours overtakes it.
/// * What waits inside is bounded: beyond the bound an append is reported `Unavailable` at once.
/// * Offsets of a shard grow by one, survive a restart, and are never given twice, even when the records before them were
///   discarded.
/// * `read` gives records from `from` on, in order, without holes, at most `max`; fewer mean that the end was reached.
///   A `from` before the first kept record is `Broken` (the records were discarded after they were committed).
/// * `end` tells at least every record that was reported to anybody before it was asked.
/// * `follow` names the shards whose growth by others is told by `Reports::grew`, within a second. Of a shard that was not
///   followed before, the growth since its last `end` was asked is told too. A log that has no other writers never tells.
/// * `commit` says that everything below `next` is safe in the store: the log may discard it. It never goes back, as long as
///   a shard has one owner at a time; a commit by one that is no longer the owner may be lost or delayed, never ahead of what
///   is stored.
/// * After a crash at any instant every reported record is there, and nothing that is there was torn.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// How many shards the log was made with.
    fn shards(&self) -> u16;

    /// Says who takes the reports. Called once, before the first `append`.
    fn start(&self, reports: Arc<dyn Reports>);

    /// Appends one record.
    fn append(&self, shard: ShardId, payload: Bytes, token: u64);

    /// Records of a shard from an offset on.
    async fn read(&self, shard: ShardId, from: Offset, max: usize) -> PortResult<Vec<Record>>;

    /// The offset the next record of each shard will get, by shard number.
    async fn ends(&self) -> PortResult<Vec<Offset>>;

    /// The offset the next record of one shard will get.
    async fn end(&self, shard: ShardId) -> PortResult<Offset>;

    /// From now on `Reports::grew` tells of these shards, and of no others.
    fn follow(&self, shards: &[ShardId]);

    /// The committed position of each shard, by shard number.
    async fn committed(&self) -> PortResult<Vec<Offset>>;

    /// Moves committed positions forward: `(shard, next)`.
    async fn commit(&self, positions: Vec<(ShardId, Offset)>) -> PortResult<()>;
}
