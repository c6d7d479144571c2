//! Entries: how they stand in their rows, and reading them.

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{
    Content, DEDUPE_WINDOW, Entry, RecentChange, Span, StoredChange, StoredMessage, StoredUpdate,
};
use rookery_actors::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result, Row};

use super::code;
use super::keys::{Id, No, seq};

/// What an entry is. A message's body column is a protobuf; an edit's its text, a reaction's its emoji. A message's `client` is its
/// client id, an update's its idempotency key in decimal.
pub mod kind {
    pub const MESSAGE: i64 = 0;
    pub const EDIT: i64 = 1;
    pub const DELETE: i64 = 2;
    pub const REACT: i64 = 3;
    pub const UNREACT: i64 = 4;
}

/// A query of the columns that `entry` reads.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT key, kind, sender, at, client, target, body FROM entries ",
            $condition
        )
    };
}

/// Entries of a range, oldest first.
pub fn entries(sql: &Connection, conversation: ConversationId, from: u64, to: u64, limit: usize) -> Result<Vec<Entry>> {
    let Some(no) = No::of(sql, conversation)? else {
        return Ok(Vec::new());
    };
    let mut select = sql.prepare_cached(select!("WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT ?3"))?;
    let rows = select.query_map((no.key(from), no.key(to), clamped(limit)), entry)?;
    rows.collect()
}

/// Messages of a span, and whether there are more.
pub fn messages(
    sql: &Connection,
    conversation: ConversationId,
    span: Span,
    limit: usize,
) -> Result<(Vec<StoredMessage>, bool)> {
    let Some(no) = No::of(sql, conversation)? else {
        return Ok((Vec::new(), false));
    };
    let (query, low, high) = match span {
        Span::Before(seq) => (
            select!("WHERE key BETWEEN ?1 AND ?2 AND kind = 0 ORDER BY key DESC LIMIT ?3"),
            no.key(1),
            no.key(seq.saturating_sub(1)),
        ),
        Span::After(seq) => (
            select!("WHERE key BETWEEN ?1 AND ?2 AND kind = 0 ORDER BY key LIMIT ?3"),
            no.key(seq.saturating_add(1)),
            no.key(u64::MAX),
        ),
    };
    let mut select = sql.prepare_cached(query)?;
    let one_more = clamped(limit.saturating_add(1));
    let rows = select.query_map((low, high, one_more), message_row)?;
    let mut messages = rows.collect::<Result<Vec<_>>>()?;
    let more = messages.len() > limit;
    messages.truncate(limit);
    Ok((messages, more))
}

/// One message.
pub fn message(sql: &Connection, conversation: ConversationId, seq: u64) -> Result<Option<StoredMessage>> {
    match No::of(sql, conversation)? {
        Some(no) => message_of(sql, no, seq),
        None => Ok(None),
    }
}

/// One message of a numbered conversation.
pub fn message_of(sql: &Connection, no: No, seq: u64) -> Result<Option<StoredMessage>> {
    let Ok(key) = no.new_key(seq) else { return Ok(None) };
    sql.prepare_cached(select!("WHERE key = ?1 AND kind = 0"))?
        .query_row([key], message_row)
        .optional()
}

/// The latest message of a numbered conversation.
pub fn latest_of(sql: &Connection, no: No) -> Result<Option<StoredMessage>> {
    sql.prepare_cached(select!(
        "WHERE key BETWEEN ?1 AND ?2 AND kind = 0 ORDER BY key DESC LIMIT 1"
    ))?
    .query_row((no.key(1), no.key(u64::MAX)), message_row)
    .optional()
}

/// The changes among the latest entries of a numbered conversation, oldest first.
pub fn latest_changes(sql: &Connection, no: No, head: u64) -> Result<Vec<RecentChange>> {
    let known_after = head.saturating_sub(DEDUPE_WINDOW as u64);
    let mut select = sql.prepare_cached(select!("WHERE key BETWEEN ?1 AND ?2 AND kind <> 0 ORDER BY key"))?;
    let rows = select.query_map((no.key(known_after + 1), no.key(head)), entry)?;
    let changes = rows.map(|row| row.map(|entry| RecentChange::of(&entry)));
    changes.filter_map(Result::transpose).collect()
}

/// Messages of others beyond a seq and up to another, counted up to `most`.
pub fn unread(
    sql: &Connection,
    conversation: ConversationId,
    user: UserId,
    (after, upto): (u64, u64),
    most: u32,
) -> Result<u32> {
    match No::of(sql, conversation)? {
        Some(no) => unread_of(sql, no, user, (after, upto), most),
        None => Ok(0),
    }
}

/// The same of a numbered conversation.
pub fn unread_of(sql: &Connection, no: No, user: UserId, (after, upto): (u64, u64), most: u32) -> Result<u32> {
    let mut select = sql.prepare_cached(
        "SELECT count(*) FROM (
             SELECT 1 FROM entries WHERE key > ?1 AND key <= ?2 AND kind = 0 AND sender <> ?3 LIMIT ?4)",
    )?;
    select.query_row((no.key(after), no.key(upto), Id(user.0), most), |row| row.get(0))
}

/// Inserts an entry; false when its seq is there already.
pub fn insert(sql: &Connection, no: No, entry: &Entry) -> Result<bool> {
    let key = no.new_key(entry.seq())?;
    let mut insert = sql.prepare_cached(
        "INSERT OR IGNORE INTO entries(key, kind, sender, at, client, target, edits, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let inserted = match entry {
        Entry::Message(message) => {
            let (sender, at, body) = (Id(message.from.0), message.at.0, code::message_body(message));
            let none = None::<i64>;
            insert.execute((key, kind::MESSAGE, sender, at, &message.id, none, none, body))?
        }
        Entry::Update(update) => {
            let (kind, body) = change(&update.change);
            let edits = (kind == kind::EDIT && body.is_some()).then(|| no.key(update.of));
            let (sender, at) = (Id(update.from.0), update.at.0);
            insert.execute((
                key,
                kind,
                sender,
                at,
                update.idempotency.map(|key| key.to_string()),
                update.of as i64,
                edits,
                body.map(str::as_bytes),
            ))?
        }
    };
    Ok(inserted == 1)
}

/// Writes a message's body anew.
pub fn rewrite(sql: &Connection, no: No, message: &StoredMessage) -> Result<()> {
    let mut update = sql.prepare_cached("UPDATE entries SET body = ?2 WHERE key = ?1")?;
    update.execute((no.key(message.seq), code::message_body(message)))?;
    Ok(())
}

/// Takes the text out of the edits of a message.
pub fn scrub_edits(sql: &Connection, no: No, of: u64) -> Result<()> {
    let mut update = sql.prepare_cached("UPDATE entries SET body = NULL, edits = NULL WHERE edits = ?1")?;
    update.execute([no.key(of)])?;
    Ok(())
}

fn change(change: &StoredChange) -> (i64, Option<&str>) {
    match change {
        StoredChange::Edit { body } => (kind::EDIT, body.as_deref()),
        StoredChange::Delete => (kind::DELETE, None),
        StoredChange::React { emoji, remove: false } => (kind::REACT, Some(emoji)),
        StoredChange::React { emoji, remove: true } => (kind::UNREACT, Some(emoji)),
    }
}

fn entry(row: &Row<'_>) -> Result<Entry> {
    let text = || row.get::<_, Option<Vec<u8>>>(6).map(|bytes| bytes.map(lossless));
    let emoji = || text().map(Option::unwrap_or_default);
    let change = match row.get(1)? {
        kind::MESSAGE => return message_row(row).map(Entry::Message),
        kind::EDIT => StoredChange::Edit { body: text()? },
        kind::DELETE => StoredChange::Delete,
        kind::REACT => StoredChange::React {
            emoji: emoji()?,
            remove: false,
        },
        kind::UNREACT => StoredChange::React {
            emoji: emoji()?,
            remove: true,
        },
        other => return Err(rusqlite::Error::IntegralValueOutOfRange(1, other)),
    };
    Ok(Entry::Update(StoredUpdate {
        seq: seq(row.get(0)?),
        of: row.get::<_, i64>(5)? as u64,
        from: row.get::<_, Id>(2)?.into(),
        at: Timestamp(row.get(3)?),
        change,
        idempotency: row.get::<_, Option<String>>(4)?.and_then(|key| key.parse().ok()),
    }))
}

fn message_row(row: &Row<'_>) -> Result<StoredMessage> {
    let mut message = StoredMessage {
        seq: seq(row.get(0)?),
        id: row.get(4)?,
        from: row.get::<_, Id>(2)?.into(),
        at: Timestamp(row.get(3)?),
        content: Content::default(),
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    };
    code::read_message_body(row.get_ref(6)?.as_blob()?, &mut message)?;
    Ok(message)
}

/// Text that was stored from a string.
fn lossless(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn clamped(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
