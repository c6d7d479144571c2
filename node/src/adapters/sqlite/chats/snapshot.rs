//! What a conversation's actor starts from, and what is told of one that is not in memory.

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{DEDUPE_WINDOW, OVERVIEW_ENTRIES, Overview, Profile, RecentId, Snapshot};
use rookery_actors::time::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row};

use super::keys::{Id, No, seq};
use super::{code, history, people};

/// Loads a conversation; its tombstone when it was deleted.
pub fn load(sql: &Connection, conversation: ConversationId) -> Result<Option<Snapshot>> {
    let mut select =
        sql.prepare_cached("SELECT no, head, applied, active_at, deleted, profile FROM conversations WHERE id = ?1")?;
    let row = select.query_row([Id(conversation.0)], |row| {
        let snapshot = Snapshot {
            profile: profile(row, 5)?,
            head: row.get::<_, i64>(1)? as u64,
            applied: row.get::<_, i64>(2)? as u64,
            active_at: Timestamp(row.get(3)?),
            members: Vec::new(),
            recent: Vec::new(),
            changes: Vec::new(),
            deleted: row.get::<_, i64>(4)? != 0,
        };
        Ok((No(row.get(0)?), snapshot))
    });
    let Some((no, mut snapshot)) = row.optional()? else {
        return Ok(None);
    };
    if !snapshot.deleted {
        snapshot.members = people::members(sql, no)?;
        snapshot.recent = recent(sql, no)?;
        snapshot.changes = history::latest_changes(sql, no, snapshot.head)?;
    }
    Ok(Some(snapshot))
}

/// A conversation in a line, for a member who has read so far.
pub fn overview(sql: &Connection, conversation: ConversationId, user: UserId, read: u64) -> Result<Option<Overview>> {
    let mut select = sql.prepare_cached(
        "SELECT no, head, profile FROM conversations JOIN memberships ON conversation = no AND user = ?2
         WHERE id = ?1 AND deleted = 0",
    )?;
    let row = select.query_row((Id(conversation.0), Id(user.0)), |row| {
        Ok((No(row.get(0)?), row.get::<_, i64>(1)? as u64, profile(row, 2)?))
    });
    let within = |head: u64| head.saturating_sub(read) <= OVERVIEW_ENTRIES;
    let Some((no, head, profile)) = row.optional()?.filter(|(_, head, _)| within(*head)) else {
        return Ok(None);
    };
    Ok(Some(Overview {
        profile,
        head,
        unread: history::unread_of(sql, no, user, (read, head), u32::MAX)?,
        latest: history::latest_of(sql, no)?,
    }))
}

fn profile(row: &Row<'_>, column: usize) -> Result<Profile> {
    let blob = row.get_ref(column)?.as_blob();
    code::read_profile(
        blob.map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, error.into()))?,
    )
}

fn recent(sql: &Connection, no: No) -> Result<Vec<RecentId>> {
    let mut select = sql.prepare_cached(
        "SELECT key, sender, client, at FROM entries
         WHERE key BETWEEN ?1 AND ?2 AND kind = 0 ORDER BY key DESC LIMIT ?3",
    )?;
    let rows = select.query_map((no.key(1), no.key(u64::MAX), DEDUPE_WINDOW as i64), |row| {
        Ok(RecentId {
            from: row.get::<_, Id>(1)?.into(),
            id: row.get(2)?,
            seq: seq(row.get(0)?),
            at: Timestamp(row.get(3)?),
        })
    })?;
    let mut recent = rows.collect::<Result<Vec<_>>>()?;
    recent.reverse();
    Ok(recent)
}
