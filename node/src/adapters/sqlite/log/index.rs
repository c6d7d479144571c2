//! Where each shard's records stand: pure bookkeeping over the rows that are kept.

use std::collections::{HashMap, VecDeque};

use rookery_actors::ports::log::Offset;
use rookery_actors::ports::{PortError, PortResult};
use rookery_cluster::id::ShardId;

use super::batch::Run;

/// The key of a row in the file.
pub type RowId = i64;

/// Of every shard: the rows that hold its uncommitted records, its committed position and its end.
pub struct Index {
    shards: Vec<Shard>,
    /// Rows with records not yet committed, and of how many shards.
    open: HashMap<RowId, usize>,
    /// Rows all of whose records are committed, not yet deleted.
    spent: Vec<RowId>,
}

#[derive(Default)]
struct Shard {
    /// Ascending and adjacent.
    runs: VecDeque<(Run, RowId)>,
    committed: Offset,
    end: Offset,
}

impl Index {
    /// An index of no rows over these committed positions.
    pub fn new(committed: &[Offset]) -> Self {
        let shard = |committed: &Offset| Shard {
            runs: VecDeque::new(),
            committed: *committed,
            end: *committed,
        };
        Self {
            shards: committed.iter().map(shard).collect(),
            open: HashMap::new(),
            spent: Vec::new(),
        }
    }

    /// Takes up a row. Its runs must go on where their shards end; a run that is already committed is passed over.
    pub fn insert(&mut self, row: RowId, runs: impl IntoIterator<Item = Run>) -> PortResult<()> {
        let mut open = 0;
        for run in runs {
            let shard = self.shards.get_mut(usize::from(run.shard.0));
            let shard = shard.ok_or_else(|| hole(run, 0))?;
            if run.end() <= shard.committed {
                continue;
            }
            let next = shard.runs.back().map(|(last, _)| last.end());
            match next {
                Some(next) if run.first != next => return Err(hole(run, next)),
                None if run.first > shard.committed => return Err(hole(run, shard.committed)),
                _ => {}
            }
            shard.end = run.end();
            shard.runs.push_back((run, row));
            open += 1;
        }
        if open == 0 {
            self.spent.push(row);
        } else {
            self.open.insert(row, open);
        }
        Ok(())
    }

    /// The row that holds an offset; `None` at the end. An offset that was discarded is an error.
    pub fn find(&self, shard: ShardId, offset: Offset) -> PortResult<Option<RowId>> {
        let shard_state = &self.shards[usize::from(shard.0)];
        if offset >= shard_state.end {
            return Ok(None);
        }
        let after = shard_state.runs.partition_point(|(run, _)| run.first <= offset);
        match after.checked_sub(1).and_then(|at| shard_state.runs.get(at)) {
            Some((_, row)) => Ok(Some(*row)),
            None => Err(PortError::Broken(format!(
                "the log no longer has shard {shard} at {offset}: it was committed up to {}",
                shard_state.committed
            ))),
        }
    }

    /// Moves committed positions forward, never beyond the end; what of a shard's rows is wholly below is let go.
    pub fn commit(&mut self, positions: &[(ShardId, Offset)]) {
        for (number, next) in positions {
            let shard = &mut self.shards[usize::from(number.0)];
            shard.committed = shard.committed.max((*next).min(shard.end));
            while let Some((run, row)) = shard.runs.front().copied()
                && run.end() <= shard.committed
            {
                shard.runs.pop_front();
                if let Some(open) = self.open.get_mut(&row) {
                    *open -= 1;
                    if *open == 0 {
                        self.open.remove(&row);
                        self.spent.push(row);
                    }
                }
            }
        }
    }

    /// Positions as `commit` would leave them, where they are news.
    pub fn news(&self, positions: &[(ShardId, Offset)]) -> Vec<(ShardId, Offset)> {
        let clamped = positions.iter().map(|(number, next)| {
            let shard = &self.shards[usize::from(number.0)];
            (*number, (*next).min(shard.end), shard.committed)
        });
        let news = clamped.filter(|(_, next, committed)| next > committed);
        news.map(|(number, next, _)| (number, next)).collect()
    }

    /// At most so many rows that may be deleted; they come again until `deleted`.
    pub fn spent(&self, most: usize) -> &[RowId] {
        &self.spent[..most.min(self.spent.len())]
    }

    /// The first so many spent rows are deleted.
    pub fn deleted(&mut self, count: usize) {
        self.spent.drain(..count);
    }

    pub fn end(&self, shard: ShardId) -> Offset {
        self.shards[usize::from(shard.0)].end
    }

    pub fn ends(&self) -> Vec<Offset> {
        self.shards.iter().map(|shard| shard.end).collect()
    }

    pub fn committed(&self) -> Vec<Offset> {
        self.shards.iter().map(|shard| shard.committed).collect()
    }
}

fn hole(run: Run, next: Offset) -> PortError {
    let Run { shard, first, .. } = run;
    PortError::Broken(format!(
        "the log has a hole: shard {shard} goes on at {first} instead of {next}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(shard: u16, first: Offset, records: u32) -> Run {
        let shard = ShardId(shard);
        Run { shard, first, records }
    }

    #[test]
    fn an_offset_is_found_in_the_row_that_holds_it() {
        let mut index = Index::new(&[0, 0]);
        index.insert(1, [run(0, 0, 2), run(1, 0, 1)]).unwrap();
        index.insert(2, [run(0, 2, 3)]).unwrap();
        assert_eq!(index.find(ShardId(0), 1).unwrap(), Some(1));
        assert_eq!(index.find(ShardId(0), 2).unwrap(), Some(2));
        assert_eq!(index.find(ShardId(0), 4).unwrap(), Some(2));
        assert_eq!(index.find(ShardId(0), 5).unwrap(), None);
        assert_eq!(index.ends(), [5, 1]);
    }

    #[test]
    fn a_row_is_spent_when_all_its_shards_are_committed() {
        let mut index = Index::new(&[0, 0]);
        index.insert(1, [run(0, 0, 2), run(1, 0, 1)]).unwrap();
        index.commit(&[(ShardId(0), 2)]);
        assert!(index.spent(9).is_empty());
        assert!(index.find(ShardId(0), 1).is_err());
        index.commit(&[(ShardId(1), 77)]);
        assert_eq!(index.spent(9), [1]);
        assert_eq!(index.committed(), [2, 1]);
        index.deleted(1);
        assert!(index.spent(9).is_empty());
    }

    #[test]
    fn a_committed_position_never_goes_back() {
        let mut index = Index::new(&[5]);
        index.commit(&[(ShardId(0), 3)]);
        assert_eq!(index.committed(), [5]);
        assert!(index.news(&[(ShardId(0), 5)]).is_empty());
        assert_eq!(index.ends(), [5]);
    }

    #[test]
    fn a_hole_is_refused() {
        let mut index = Index::new(&[5]);
        assert!(index.insert(1, [run(0, 6, 1)]).is_err());
        index.insert(2, [run(0, 3, 4)]).unwrap();
        assert!(index.insert(3, [run(0, 8, 1)]).is_err());
        assert_eq!(index.end(ShardId(0)), 7);
    }
}
