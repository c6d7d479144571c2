//! The records of one commit as one blob.
//!
//! ```text
//! format u8 = 1 | checksum u64 | run*
//! run:    shard u16 | first offset u64 | records u32 | record*
//! record: length u32 | payload
//! ```
//!
//! Integers are little-endian. A run holds consecutive records of one shard; a shard has at most one run in a batch.

use bytes::Bytes;
use rookery_actors::ports::log::{Offset, Record};
use rookery_actors::ports::{PortError, PortResult};
use rookery_cluster::id::ShardId;

const FORMAT: u8 = 1;
const HEAD: usize = 1 + 8;

/// Consecutive records of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub shard: ShardId,
    pub first: Offset,
    pub records: u32,
}

impl Run {
    /// The offset after the last record.
    pub fn end(&self) -> Offset {
        self.first + u64::from(self.records)
    }
}

/// Builds the blob.
#[derive(Default)]
pub struct Builder {
    body: Vec<u8>,
    runs: Vec<Run>,
    /// Where the count of the run being written stands.
    count_at: usize,
}

impl Builder {
    pub fn clear(&mut self) {
        self.body.clear();
        self.runs.clear();
    }

    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Begins a run; records follow by `push`.
    pub fn begin(&mut self, shard: ShardId, first: Offset) {
        if self.body.is_empty() {
            self.body.resize(HEAD, 0);
        }
        self.body.extend_from_slice(&shard.0.to_le_bytes());
        self.body.extend_from_slice(&first.to_le_bytes());
        self.count_at = self.body.len();
        self.body.extend_from_slice(&[0; 4]);
        let records = 0;
        self.runs.push(Run { shard, first, records });
    }

    /// Adds a record to the run begun last.
    pub fn push(&mut self, payload: &[u8]) {
        self.body.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.body.extend_from_slice(payload);
        if let Some(run) = self.runs.last_mut() {
            run.records += 1;
            self.body[self.count_at..self.count_at + 4].copy_from_slice(&run.records.to_le_bytes());
        }
    }

    /// The blob and its runs; `None` when nothing was pushed.
    pub fn finish(&mut self) -> Option<(&[u8], &[Run])> {
        if self.runs.is_empty() {
            return None;
        }
        let sum = checksum(&self.body[HEAD..]);
        self.body[0] = FORMAT;
        self.body[1..HEAD].copy_from_slice(&sum.to_le_bytes());
        Some((&self.body, &self.runs))
    }
}

/// A blob that was checked: its runs and where each begins.
pub struct Batch {
    body: Bytes,
    runs: Vec<(Run, usize)>,
}

impl Batch {
    /// Checks a blob, every length in it included.
    pub fn parse(body: Bytes) -> PortResult<Self> {
        let runs = runs(&body).ok_or_else(|| PortError::Broken("a row of the log is damaged".into()))?;
        Ok(Self { body, runs })
    }

    pub fn runs(&self) -> impl Iterator<Item = Run> {
        self.runs.iter().map(|(run, _)| *run)
    }

    /// The size of the blob.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Copies at most `max` records of a shard from an offset on. They are copies, so that a record that is kept for long
    /// does not keep the whole batch.
    pub fn copy(&self, shard: ShardId, from: Offset, max: usize, into: &mut Vec<Record>) -> PortResult<()> {
        let holds = |run: &Run| run.shard == shard && (run.first..run.end()).contains(&from);
        let Some((run, start)) = self.runs.iter().find(|(run, _)| holds(run)) else {
            return Err(PortError::Broken(format!(
                "the log's index is wrong about shard {shard} at {from}"
            )));
        };
        let mut reader = Reader(&self.body[*start..]);
        let wanted = (run.first..run.end()).skip_while(|offset| *offset < from).take(max);
        for _ in run.first..from {
            reader.record();
        }
        for offset in wanted {
            let payload = Bytes::copy_from_slice(reader.record().unwrap_or_default());
            into.push(Record { offset, payload });
        }
        Ok(())
    }
}

fn runs(body: &Bytes) -> Option<Vec<(Run, usize)>> {
    let mut reader = Reader(body);
    let [FORMAT] = reader.array()? else { return None };
    if u64::from_le_bytes(reader.array()?) != checksum(reader.0) {
        return None;
    }
    let mut runs = Vec::new();
    while !reader.0.is_empty() {
        let run = Run {
            shard: ShardId(u16::from_le_bytes(reader.array()?)),
            first: u64::from_le_bytes(reader.array()?),
            records: u32::from_le_bytes(reader.array()?),
        };
        runs.push((run, body.len() - reader.0.len()));
        for _ in 0..run.records {
            reader.record()?;
        }
    }
    Some(runs)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn record(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        let (payload, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(payload)
    }
}

/// A checksum against torn and flipped bytes, eight bytes a step; no protection against somebody who wants to forge one.
/// Each step is a bijection of the state, so a single changed word always shows.
fn checksum(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |sum: u64, word: [u8; 8]| ((sum ^ u64::from_le_bytes(word)).wrapping_mul(ODD)).rotate_left(29);
    let (words, rest) = bytes.as_chunks();
    let sum = words.iter().fold(bytes.len() as u64, |sum, word| step(sum, *word));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(sum, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> Vec<u8> {
        let mut builder = Builder::default();
        builder.begin(ShardId(3), 7);
        builder.push(b"first");
        builder.push(b"");
        builder.begin(ShardId(9), 0);
        builder.push(&[0xff; 300]);
        builder.finish().unwrap().0.to_vec()
    }

    #[test]
    fn what_was_built_is_read() {
        let batch = Batch::parse(built().into()).unwrap();
        let ends: Vec<_> = batch.runs().map(|run| (run.shard.0, run.first, run.end())).collect();
        assert_eq!(ends, [(3, 7, 9), (9, 0, 1)]);
        let mut records = Vec::new();
        batch.copy(ShardId(3), 7, 10, &mut records).unwrap();
        batch.copy(ShardId(9), 0, 10, &mut records).unwrap();
        let lengths: Vec<_> = records
            .iter()
            .map(|record| (record.offset, record.payload.len()))
            .collect();
        assert_eq!(lengths, [(7, 5), (8, 0), (0, 300)]);
        assert!(batch.copy(ShardId(3), 9, 1, &mut records).is_err());
    }

    type Runs = Vec<(ShardId, Offset, Vec<Vec<u8>>)>;

    fn read_all(bytes: &[u8]) -> Result<Runs, String> {
        let batch = Batch::parse(Bytes::copy_from_slice(bytes)).map_err(|error| error.to_string())?;
        let payloads = |run: Run| {
            let mut records = Vec::new();
            batch.copy(run.shard, run.first, usize::MAX, &mut records).unwrap();
            records.into_iter().map(|record| record.payload.to_vec()).collect()
        };
        Ok(batch.runs().map(|run| (run.shard, run.first, payloads(run))).collect())
    }

    #[test]
    fn recorded_rows_of_any_release_are_read() {
        let runs: Runs = vec![
            (ShardId(3), 7, vec![b"first".to_vec(), Vec::new()]),
            (ShardId(300), 1 << 40, vec![vec![0xff; 20]]),
        ];
        let write = |runs: &Runs| {
            let mut builder = Builder::default();
            for (shard, first, payloads) in runs {
                builder.begin(*shard, *first);
                payloads.iter().for_each(|payload| builder.push(payload));
            }
            builder.finish().unwrap().0.to_vec()
        };
        let samples = [("two shards".to_owned(), runs)];
        let fixtures = crate::adapters::tests::fixtures("sqlite-log");
        rookery_cluster::testkit::recorded::hold(fixtures, &samples, write, read_all);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_seen() {
        let good = built();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(Batch::parse(bad.into()).is_err(), "byte {at}");
            assert!(Batch::parse(good[..at].to_vec().into()).is_err(), "cut at {at}");
        }
    }
}
