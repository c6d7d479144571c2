//! Removing what a deleted group left, a little at a time, so that other writes get through.

use rusqlite::{Connection, OptionalExtension, Result};

use super::keys::No;

/// Rows of each table removed in one go: some milliseconds.
const ROWS: i64 = 2_000;

/// Removes some of what is left of one deleted group; false when there is nothing left of any.
pub fn some(sql: &Connection) -> Result<bool> {
    let mut select = sql.prepare_cached("SELECT no FROM conversations WHERE deleted = 1 LIMIT 1")?;
    let Some(no) = select.query_row([], |row| row.get(0).map(No)).optional()? else {
        return Ok(false);
    };
    let (low, high) = (no.key(0), no.key(u64::MAX));
    let ranges = [
        "DELETE FROM entries WHERE key IN (SELECT key FROM entries WHERE key BETWEEN ?1 AND ?2 LIMIT ?3)",
        "DELETE FROM client_ids WHERE key IN (SELECT key FROM client_ids WHERE key BETWEEN ?1 AND ?2 LIMIT ?3)",
    ];
    let mut removed = 0;
    for delete in ranges {
        removed += sql.prepare_cached(delete)?.execute((low, high, ROWS))?;
    }
    let people = [
        "DELETE FROM memberships WHERE conversation = ?1 AND user IN
             (SELECT user FROM memberships WHERE conversation = ?1 LIMIT ?2)",
        "DELETE FROM former_members WHERE conversation = ?1 AND user IN
             (SELECT user FROM former_members WHERE conversation = ?1 LIMIT ?2)",
    ];
    for delete in people {
        removed += sql.prepare_cached(delete)?.execute((no.0, ROWS))?;
    }
    if removed == 0 {
        sql.prepare_cached("UPDATE conversations SET deleted = 2 WHERE no = ?1")?
            .execute([no.0])?;
    }
    Ok(true)
}
