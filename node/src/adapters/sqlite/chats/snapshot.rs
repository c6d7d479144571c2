//! What a conversation's actor starts from.

use rookery_actors::id::ConversationId;
use rookery_actors::ports::chats::{DEDUPE_WINDOW, RecentId, Snapshot};
use rookery_actors::time::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result};

use super::keys::{Id, No, seq};
use super::{code, people};

/// Loads a conversation; its tombstone when it was deleted.
pub fn load(sql: &Connection, conversation: ConversationId) -> Result<Option<Snapshot>> {
    let mut select =
        sql.prepare_cached("SELECT no, head, applied, active_at, deleted, profile FROM conversations WHERE id = ?1")?;
    let row = select.query_row([Id(conversation.0)], |row| {
        let profile = row.get_ref(5)?.as_blob();
        let profile =
            profile.map_err(|error| rusqlite::Error::FromSqlConversionFailure(5, Type::Blob, error.into()))?;
        let snapshot = Snapshot {
            profile: code::read_profile(profile)?,
            head: row.get::<_, i64>(1)? as u64,
            applied: row.get::<_, i64>(2)? as u64,
            active_at: Timestamp(row.get(3)?),
            members: Vec::new(),
            recent: Vec::new(),
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
    }
    Ok(Some(snapshot))
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
