//! A user's conversations and devices.

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{DeviceCursors, Inbox, Membership};
use rookery_actors::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result, Row, Statement};

use super::cursors;
use super::keys::{Id, No};

/// The inboxes of these users, in their order. Two prepared statements a user: in this process that is cheaper than one
/// large statement whose rows must be told apart again.
pub fn all(sql: &Connection, users: &[UserId]) -> Result<Vec<Inbox>> {
    let mut devices_of =
        sql.prepare_cached("SELECT id, login, name, created_at, last_seen_at FROM devices WHERE user = ?1")?;
    let mut memberships_of = sql.prepare_cached(
        "SELECT c.id, c.head, c.active_at, m.joined_seq, m.joined_at, m.read, m.delivered, m.muted_until, m.pinned,
             m.devices
         FROM memberships m INDEXED BY memberships_of CROSS JOIN conversations c ON c.no = m.conversation
         WHERE m.user = ?1 AND c.deleted = 0",
    )?;
    let mut one = |user: &UserId| {
        let mut devices = devices(&mut devices_of, *user)?;
        let memberships = memberships(&mut memberships_of, *user, &mut devices)?;
        Ok(Inbox { memberships, devices })
    };
    users.iter().map(&mut one).collect()
}

/// A user's memberships; the devices get the cursors that stand in them.
fn memberships(select: &mut Statement<'_>, user: UserId, devices: &mut [DeviceCursors]) -> Result<Vec<Membership>> {
    let mut rows = select.query([Id(user.0)])?;
    let mut memberships = Vec::new();
    while let Some(row) = rows.next()? {
        let membership = membership(row)?;
        for (device, seq) in cursors::read(row.get_ref(9)?.as_blob_or_null()?.unwrap_or_default()) {
            if let Some(known) = devices.iter_mut().find(|known| known.device == device) {
                known.cursors.push((membership.conversation, seq));
            }
        }
        memberships.push(membership);
    }
    Ok(memberships)
}

fn membership(row: &Row<'_>) -> Result<Membership> {
    let number = |column| row.get::<_, i64>(column).map(|number| number as u64);
    Ok(Membership {
        conversation: row.get::<_, Id>(0)?.into(),
        head: number(1)?,
        active_at: Timestamp(row.get(2)?),
        joined_seq: number(3)?,
        joined_at: Timestamp(row.get(4)?),
        read: number(5)?,
        delivered: number(6)?,
        muted_until: row.get::<_, Option<i64>>(7)?.map(Timestamp),
        pinned: row.get(8)?,
    })
}

/// A user's devices in order of their making, without cursors.
fn devices(select: &mut Statement<'_>, user: UserId) -> Result<Vec<DeviceCursors>> {
    let rows = select.query_map([Id(user.0)], |row| {
        Ok(DeviceCursors {
            device: row.get::<_, Id>(0)?.into(),
            login: row.get::<_, Id>(1)?.into(),
            name: row.get(2)?,
            created_at: Timestamp(row.get(3)?),
            last_seen_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
            cursors: Vec::new(),
        })
    })?;
    let mut devices = rows.collect::<Result<Vec<_>>>()?;
    devices.sort_unstable_by_key(|device| (device.created_at, device.device));
    Ok(devices)
}

/// Stored heads, in order.
pub fn heads(sql: &Connection, conversations: &[ConversationId]) -> Result<Vec<u64>> {
    let mut select = sql.prepare_cached("SELECT head FROM conversations WHERE id = ?1 AND deleted = 0")?;
    let mut head = |conversation: &ConversationId| {
        let head = select
            .query_row([Id(conversation.0)], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(head.unwrap_or(0) as u64)
    };
    conversations.iter().map(&mut head).collect()
}

/// A user's own settings of a conversation; false when the user is no member.
pub fn save_preferences(
    sql: &Connection,
    user: UserId,
    conversation: ConversationId,
    muted_until: Option<Option<Timestamp>>,
    pinned: Option<bool>,
) -> Result<bool> {
    let Some(no) = No::of(sql, conversation)? else {
        return Ok(false);
    };
    let mut update = sql.prepare_cached(
        "UPDATE memberships SET muted_until = iif(?3, ?4, muted_until), pinned = coalesce(?5, pinned)
         WHERE conversation = ?1 AND user = ?2",
    )?;
    let until = muted_until.flatten().map(|until| until.0);
    let updated = update.execute((no.0, Id(user.0), muted_until.is_some(), until, pinned))?;
    Ok(updated > 0)
}
