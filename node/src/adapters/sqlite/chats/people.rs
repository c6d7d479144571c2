//! Who is in which conversation.

use std::collections::HashSet;

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{Cursors, Member};
use rookery_actors::time::Timestamp;
use rusqlite::{Connection, Result};

use super::code;
use super::keys::{Id, No};

/// Adds a member, whose cursors start at `joined_seq`, or replaces a member's role.
pub fn join(sql: &Connection, no: No, member: &Member) -> Result<()> {
    let mut insert = sql.prepare_cached(
        "INSERT INTO memberships(conversation, user, role, joined_at, joined_seq, admin_since, read, delivered)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5, ?5)
         ON CONFLICT (conversation, user) DO UPDATE SET role = excluded.role, admin_since = excluded.admin_since",
    )?;
    let admin_since = member.admin_since.map(|at| at.0);
    let (role, joined_at, joined_seq) = (code::role(member.role), member.joined_at.0, member.joined_seq as i64);
    insert.execute((no.0, Id(member.user.0), role, joined_at, joined_seq, admin_since))?;
    sql.prepare_cached("DELETE FROM former_members WHERE conversation = ?1 AND user = ?2")?
        .execute((no.0, Id(member.user.0)))?;
    Ok(())
}

/// Removes a member with all cursors; that there was one is remembered.
pub fn leave(sql: &Connection, no: No, user: UserId) -> Result<()> {
    let mut delete = sql.prepare_cached("DELETE FROM memberships WHERE conversation = ?1 AND user = ?2")?;
    if delete.execute((no.0, Id(user.0)))? > 0 {
        sql.prepare_cached("INSERT OR IGNORE INTO former_members(conversation, user) VALUES (?1, ?2)")?
            .execute((no.0, Id(user.0)))?;
    }
    Ok(())
}

/// All members, by user id.
pub fn members(sql: &Connection, no: No) -> Result<Vec<Member>> {
    let mut select = sql.prepare_cached(
        "SELECT user, role, joined_at, joined_seq, admin_since FROM memberships
         WHERE conversation = ?1 ORDER BY user",
    )?;
    let rows = select.query_map([no.0], |row| {
        Ok(Member {
            user: row.get::<_, Id>(0)?.into(),
            role: code::read_role(row.get(1)?)?,
            joined_at: Timestamp(row.get(2)?),
            joined_seq: row.get::<_, i64>(3)? as u64,
            admin_since: row.get::<_, Option<i64>>(4)?.map(Timestamp),
        })
    })?;
    rows.collect()
}

/// Cursors of the members beyond one, by user id.
pub fn receipts(
    sql: &Connection,
    conversation: ConversationId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<Cursors>> {
    let Some(no) = No::of(sql, conversation)? else {
        return Ok(Vec::new());
    };
    let mut select = sql.prepare_cached(
        "SELECT user, delivered, read FROM memberships
         WHERE conversation = ?1 AND user > ?2 ORDER BY user LIMIT ?3",
    )?;
    // The empty blob is before every id.
    let after = after.map_or(Vec::new(), |user| user.as_bytes().to_vec());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = select.query_map((no.0, after, limit), |row| {
        Ok(Cursors {
            user: row.get::<_, Id>(0)?.into(),
            delivered: row.get::<_, i64>(1)? as u64,
            read: row.get::<_, i64>(2)? as u64,
        })
    })?;
    rows.collect()
}

/// Which of `others` share a conversation with the user, in their order.
pub fn acquainted(sql: &Connection, user: UserId, others: &[UserId]) -> Result<Vec<UserId>> {
    let mut select = sql.prepare_cached(
        "SELECT m.conversation FROM memberships m INDEXED BY memberships_of
         CROSS JOIN conversations c ON c.no = m.conversation
         WHERE m.user = ?1 AND c.deleted = 0",
    )?;
    let own = select
        .query_map([Id(user.0)], |row| row.get(0))?
        .collect::<Result<HashSet<i64>>>()?;
    let mut theirs =
        sql.prepare_cached("SELECT conversation FROM memberships INDEXED BY memberships_of WHERE user = ?1")?;
    let mut found = Vec::new();
    for other in others {
        let mut rows = theirs.query([Id(other.0)])?;
        while let Some(row) = rows.next()? {
            if own.contains(&row.get(0)?) {
                found.push(*other);
                break;
            }
        }
    }
    Ok(found)
}

/// Whether the user is or was a member.
pub fn was_member(sql: &Connection, conversation: ConversationId, user: UserId) -> Result<bool> {
    let Some(no) = No::of(sql, conversation)? else {
        return Ok(false);
    };
    let mut select = sql.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM memberships WHERE conversation = ?1 AND user = ?2)
             OR EXISTS (SELECT 1 FROM former_members WHERE conversation = ?1 AND user = ?2)",
    )?;
    select.query_row((no.0, Id(user.0)), |row| row.get(0))
}
