//! Which client ids were used: a hash of 32 bits a message, by seq, in chunks.
//!
//! The latest chunk stands in the conversation's row, which a flush rewrites anyway; full ones are rows of `client_ids` that
//! are written once. A search scans the chunks, newest first (a millisecond for a million messages), and compares the ids
//! themselves wherever a hash agrees, so that a collision costs a look and never a message.

use rookery_actors::id::UserId;
use rookery_actors::ports::chats::Sought;
use rookery_actors::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result};

use super::keys::{Id, No, seq};

/// Seqs a chunk covers: its kilobyte fits a page several times.
const CHUNK: u64 = 256;
const WIDTH: usize = 4;

/// A chunk being filled: the place of a hash is its seq's; zero where the seq is no message.
pub struct Chunk {
    no: No,
    number: u64,
    hashes: Vec<u8>,
}

impl Chunk {
    /// The latest chunk of a conversation with that head, as it stands in its row.
    pub fn latest(no: No, head: u64, hashes: Vec<u8>) -> Self {
        let number = number(head);
        Self { no, number, hashes }
    }

    /// Notes the client id of a message.
    pub fn insert(&mut self, sql: &Connection, seq: u64, from: UserId, id: &str) -> Result<()> {
        self.turn(sql, seq)?;
        let at = (seq.saturating_sub(1) % CHUNK) as usize * WIDTH;
        if self.hashes.len() < at + WIDTH {
            self.hashes.resize(at + WIDTH, 0);
        }
        self.hashes[at..at + WIDTH].copy_from_slice(&hash(from, id));
        Ok(())
    }

    /// The latest chunk, now that the head is there, for the conversation's row.
    pub fn finish(&mut self, sql: &Connection, head: u64) -> Result<&[u8]> {
        self.turn(sql, head)?;
        Ok(&self.hashes)
    }

    /// Puts the chunk away and takes up the one of `seq`.
    fn turn(&mut self, sql: &Connection, seq: u64) -> Result<()> {
        let number = number(seq);
        if number == self.number {
            return Ok(());
        }
        if !self.hashes.is_empty() {
            sql.prepare_cached("INSERT OR REPLACE INTO client_ids(key, hashes) VALUES (?1, ?2)")?
                .execute((self.no.key(self.number), &self.hashes))?;
        }
        let mut select = sql.prepare_cached("SELECT hashes FROM client_ids WHERE key = ?1")?;
        let stored = select.query_row([self.no.key(number)], |row| row.get(0)).optional()?;
        self.hashes = stored.unwrap_or_default();
        self.number = number;
        Ok(())
    }
}

/// The messages with these senders and client ids, in their order.
pub fn find(sql: &Connection, sought: &[Sought]) -> Result<Vec<Option<(u64, Timestamp)>>> {
    sought.iter().map(|one| find_one(sql, one)).collect()
}

fn find_one(sql: &Connection, sought: &Sought) -> Result<Option<(u64, Timestamp)>> {
    let mut select = sql.prepare_cached("SELECT no, head, clients FROM conversations WHERE id = ?1 AND deleted = 0")?;
    let row = select.query_row([Id(sought.conversation.0)], |row| {
        Ok((No(row.get(0)?), row.get(1)?, row.get(2)?))
    });
    let Some((no, head, latest)) = row.optional()? else {
        return Ok(None);
    };
    let (head, latest): (i64, Vec<u8>) = (head, latest);
    let search = Search { sql, no, sought };
    if let Some(found) = search.scan(number(head as u64), &latest)? {
        return Ok(Some(found));
    }
    let mut chunks =
        sql.prepare_cached("SELECT key, hashes FROM client_ids WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC")?;
    let mut rows = chunks.query([no.key(0), no.key(number(head as u64))])?;
    while let Some(row) = rows.next()? {
        if let Some(found) = search.scan(seq(row.get(0)?), row.get_ref(1)?.as_blob()?)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

struct Search<'a> {
    sql: &'a Connection,
    no: No,
    sought: &'a Sought,
}

impl Search<'_> {
    fn scan(&self, chunk: u64, hashes: &[u8]) -> Result<Option<(u64, Timestamp)>> {
        let wanted = hash(self.sought.from, &self.sought.id);
        for (place, hash) in hashes.as_chunks::<WIDTH>().0.iter().enumerate().rev() {
            if *hash == wanted {
                let seq = chunk * CHUNK + place as u64 + 1;
                if let Some(at) = self.verify(seq)? {
                    return Ok(Some((seq, at)));
                }
            }
        }
        Ok(None)
    }

    fn verify(&self, seq: u64) -> Result<Option<Timestamp>> {
        let mut select = self
            .sql
            .prepare_cached("SELECT at FROM entries WHERE key = ?1 AND kind = 0 AND sender = ?2 AND client = ?3")?;
        let Sought { from, id, .. } = self.sought;
        let row = select.query_row((self.no.key(seq), Id(from.0), id), |row| row.get(0).map(Timestamp));
        row.optional()
    }
}

/// The chunk a seq belongs to.
fn number(seq: u64) -> u64 {
    seq.saturating_sub(1) / CHUNK
}

/// FNV-1a (Fowler, Noll, Vo) over sender and id, folded to 32 bits and never zero. Stable for ever: it is stored.
pub(super) fn hash(from: UserId, id: &str) -> [u8; WIDTH] {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let bytes = from.as_bytes().iter().chain(id.as_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, step);
    (((hash >> 32) ^ hash) as u32).max(1).to_le_bytes()
}
