//! Cursors that move: of a member, and of the member's devices, which stand in the same row.

use std::collections::HashMap;

use rookery_actors::id::{ConversationId, DeviceId, UserId};
use rookery_actors::ports::chats::CursorUpdate;
use rusqlite::{Connection, OptionalExtension, Result};

use super::keys::{Id, No};

/// Bytes of a device's cursor: its id and its seq.
const WIDTH: usize = 16 + 8;
/// Devices in a row from which on those that are gone are looked for and dropped.
const MANY: usize = 16;

/// Saves moved cursors; a smaller one, or one of somebody who is no member, changes nothing.
pub fn save(sql: &Connection, updates: &[CursorUpdate]) -> Result<()> {
    let mut numbers: HashMap<ConversationId, Option<No>> = HashMap::new();
    for update in updates {
        let no = match numbers.get(&update.conversation) {
            Some(no) => *no,
            None => {
                let no = No::of(sql, update.conversation)?;
                numbers.insert(update.conversation, no);
                no
            }
        };
        if let Some(no) = no {
            save_one(sql, no, update)?;
        }
    }
    Ok(())
}

fn save_one(sql: &Connection, no: No, update: &CursorUpdate) -> Result<()> {
    let mut select =
        sql.prepare_cached("SELECT read, delivered, devices FROM memberships WHERE conversation = ?1 AND user = ?2")?;
    let stored = select.query_row((no.0, Id(update.user.0)), |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, Option<Vec<u8>>>(2)?,
        ))
    });
    let Some((read, delivered, devices)) = stored.optional()? else {
        return Ok(());
    };
    let mut devices = devices.unwrap_or_default();
    let mut moved = false;
    for (device, seq) in &update.devices {
        moved |= advance(sql, update.user, &mut devices, *device, *seq)?;
    }
    if moved || update.read > read as u64 || update.delivered > delivered as u64 {
        let mut write = sql.prepare_cached(
            "UPDATE memberships SET read = max(read, ?3), delivered = max(delivered, ?4), devices = ?5
             WHERE conversation = ?1 AND user = ?2",
        )?;
        let (read, delivered) = (update.read as i64, update.delivered as i64);
        write.execute((no.0, Id(update.user.0), read, delivered, devices))?;
    }
    Ok(())
}

/// The devices' cursors in a row.
pub fn read(devices: &[u8]) -> impl Iterator<Item = (DeviceId, u64)> {
    devices.as_chunks::<WIDTH>().0.iter().filter_map(|entry| {
        let (id, seq) = entry.split_first_chunk::<16>()?;
        Some((
            DeviceId(uuid::Uuid::from_bytes(*id)),
            u64::from_le_bytes(*seq.first_chunk()?),
        ))
    })
}

/// Moves a device's cursor forward; false when it was there already.
fn advance(sql: &Connection, user: UserId, devices: &mut Vec<u8>, device: DeviceId, seq: u64) -> Result<bool> {
    let known = read(devices).position(|(id, _)| id == device);
    if let Some(place) = known {
        let at = place * WIDTH + 16;
        let stored = read(devices).nth(place).map_or(0, |(_, seq)| seq);
        devices[at..at + 8].copy_from_slice(&seq.max(stored).to_le_bytes());
        return Ok(seq > stored);
    }
    if devices.len() >= MANY * WIDTH {
        drop_gone(sql, user, devices)?;
    }
    devices.extend_from_slice(device.as_bytes());
    devices.extend_from_slice(&seq.to_le_bytes());
    Ok(true)
}

fn drop_gone(sql: &Connection, user: UserId, devices: &mut Vec<u8>) -> Result<()> {
    let mut select = sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM devices WHERE id = ?1 AND user = ?2)")?;
    let mut kept = Vec::new();
    for entry in devices.as_chunks::<WIDTH>().0 {
        if select.query_row((&entry[..16], Id(user.0)), |row| row.get(0))? {
            kept.extend_from_slice(entry);
        }
    }
    *devices = kept;
    Ok(())
}
