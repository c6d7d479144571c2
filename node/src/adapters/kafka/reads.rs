//! Reads under way: a pure table that turns records as they come from the brokers into answers.
//!
//! A partition is fetched from for one read at a time; another read of it waits. A read knows where it ends before it begins, so
//! it never waits for records that are not there.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use rookery_actors::ports::log::{Offset, Record};
use rookery_actors::ports::{PortError, PortResult};

/// One read: `from..until`, all of which stand in the log, or stood there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    pub shard: u16,
    pub from: Offset,
    pub until: Offset,
    pub deadline: Instant,
}

/// What is to be done. `A` is whoever waits.
#[derive(Debug)]
pub enum Effect<A> {
    /// Fetch this partition, from there on.
    Fetch(u16, Offset),
    /// Fetch it no more.
    Leave(u16),
    Answer(A, PortResult<Vec<Record>>),
}

struct Read<A> {
    range: Range,
    records: Vec<Record>,
    answer: A,
}

impl<A> Read<A> {
    fn next(&self) -> Offset {
        self.range.from + self.records.len() as u64
    }
}

/// See the module.
pub struct Reads<A> {
    active: HashMap<u16, Read<A>>,
    waiting: HashMap<u16, VecDeque<Read<A>>>,
}

impl<A> Default for Reads<A> {
    fn default() -> Self {
        Self {
            active: HashMap::new(),
            waiting: HashMap::new(),
        }
    }
}

impl<A> Reads<A> {
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Shards that are fetched from now.
    pub fn shards(&self) -> Vec<u16> {
        self.active.keys().copied().collect()
    }

    /// A read is asked for.
    pub fn ask(&mut self, range: Range, answer: A) -> Vec<Effect<A>> {
        let read = Read {
            range,
            records: Vec::new(),
            answer,
        };
        if self.active.contains_key(&range.shard) {
            self.waiting.entry(range.shard).or_default().push_back(read);
            return Vec::new();
        }
        self.begin(read)
    }

    fn begin(&mut self, read: Read<A>) -> Vec<Effect<A>> {
        if read.range.until <= read.range.from {
            return vec![Effect::Answer(read.answer, Ok(Vec::new()))];
        }
        let fetch = Effect::Fetch(read.range.shard, read.range.from);
        self.active.insert(read.range.shard, read);
        vec![fetch]
    }

    /// A record came.
    pub fn take(&mut self, shard: u16, offset: Offset, payload: Bytes) -> Vec<Effect<A>> {
        let Some(read) = self.active.get_mut(&shard) else {
            return Vec::new();
        };
        let expected = read.next();
        if offset < expected {
            return Vec::new();
        }
        if offset > expected {
            let hole =
                format!("shard {shard} of the log has a hole: record {offset} follows where {expected} should stand");
            return self.end(shard, Some(PortError::Broken(hole)));
        }
        read.records.push(Record { offset, payload });
        if read.next() == read.range.until {
            return self.end(shard, None);
        }
        Vec::new()
    }

    /// The first record the brokers keep of a shard. A read from before it has no answer.
    pub fn begins(&mut self, shard: u16, first: Offset) -> Vec<Effect<A>> {
        match self.active.get(&shard) {
            Some(read) if read.next() < first => {
                let gone = format!(
                    "shard {shard} of the log begins at {first}: record {} was discarded by the topic's retention",
                    read.next()
                );
                self.end(shard, Some(PortError::Broken(gone)))
            }
            _ => Vec::new(),
        }
    }

    /// Gives up what took too long.
    pub fn expire(&mut self, now: Instant) -> Vec<Effect<A>> {
        let late = |read: &Read<A>| read.range.deadline <= now;
        let due: Vec<u16> = self
            .active
            .values()
            .filter(|read| late(read))
            .map(|read| read.range.shard)
            .collect();
        let away = || PortError::Unavailable("read Kafka: no broker answered in time".into());
        due.into_iter()
            .flat_map(|shard| self.end(shard, Some(away())))
            .collect()
    }

    /// Ends the read of a shard, and begins the next one.
    fn end(&mut self, shard: u16, error: Option<PortError>) -> Vec<Effect<A>> {
        let Some(read) = self.active.remove(&shard) else {
            return Vec::new();
        };
        let outcome = error.map_or(Ok(read.records), Err);
        let mut effects = vec![Effect::Leave(shard), Effect::Answer(read.answer, outcome)];
        let next = self.waiting.get_mut(&shard).and_then(VecDeque::pop_front);
        match next {
            Some(next) => effects.extend(self.begin(next)),
            None => drop(self.waiting.remove(&shard)),
        }
        effects
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn range(shard: u16, from: Offset, until: Offset) -> Range {
        Range {
            shard,
            from,
            until,
            deadline: Instant::now() + Duration::from_secs(60),
        }
    }

    fn shown(effects: Vec<Effect<&'static str>>) -> Vec<String> {
        let show = |effect| match effect {
            Effect::Fetch(shard, from) => format!("fetch {shard} from {from}"),
            Effect::Leave(shard) => format!("leave {shard}"),
            Effect::Answer(who, Ok(records)) => format!("{who}: {} records", records.len()),
            Effect::Answer(who, Err(PortError::Broken(_))) => format!("{who}: broken"),
            Effect::Answer(who, Err(_)) => format!("{who}: away"),
        };
        effects.into_iter().map(show).collect()
    }

    #[test]
    fn a_read_ends_with_its_last_record() {
        let mut reads = Reads::default();
        assert_eq!(shown(reads.ask(range(3, 5, 7), "a")), ["fetch 3 from 5"]);
        assert!(
            reads.take(3, 4, Bytes::new()).is_empty(),
            "one from before is passed over"
        );
        assert!(reads.take(3, 5, Bytes::new()).is_empty());
        assert!(reads.take(9, 6, Bytes::new()).is_empty(), "nobody reads that shard");
        assert_eq!(shown(reads.take(3, 6, Bytes::new())), ["leave 3", "a: 2 records"]);
        assert!(reads.is_idle());
    }

    #[test]
    fn reads_of_one_shard_follow_each_other() {
        let mut reads = Reads::default();
        reads.ask(range(3, 0, 1), "a");
        assert!(reads.ask(range(3, 9, 9), "empty").is_empty());
        assert_eq!(shown(reads.ask(range(4, 0, 1), "other")), ["fetch 4 from 0"]);
        assert_eq!(
            shown(reads.take(3, 0, Bytes::new())),
            ["leave 3", "a: 1 records", "empty: 0 records"]
        );
    }

    #[test]
    fn holes_and_discarded_records_are_broken() {
        let mut reads = Reads::default();
        reads.ask(range(3, 0, 5), "a");
        assert_eq!(shown(reads.take(3, 1, Bytes::new())), ["leave 3", "a: broken"]);
        reads.ask(range(3, 2, 5), "b");
        assert!(reads.begins(3, 2).is_empty());
        assert_eq!(shown(reads.begins(3, 3)), ["leave 3", "b: broken"]);
    }

    #[test]
    fn a_read_without_an_answer_is_given_up() {
        let mut reads = Reads::default();
        reads.ask(range(3, 0, 5), "a");
        reads.ask(range(3, 0, 5), "b");
        assert!(reads.expire(Instant::now()).is_empty());
        let later = Instant::now() + Duration::from_secs(61);
        assert_eq!(shown(reads.expire(later)), ["leave 3", "a: away", "fetch 3 from 0"]);
    }
}
