//! The devices of users, in the table that conversations keep their cursors by.

use rookery_actors::id::{DeviceId, LoginId, UserId};
use rookery_actors::ports::accounts::Device;
use rookery_actors::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::id;

pub fn of(connection: &Connection, user: UserId) -> rusqlite::Result<Vec<Device>> {
    let sql = "SELECT id, login, name, created_at, last_seen_at FROM devices WHERE user = ?1 ORDER BY created_at, id";
    connection
        .prepare_cached(sql)?
        .query_map([user.as_bytes()], device)?
        .collect()
}

pub fn create(connection: &Connection, user: UserId, device: &Device, most: usize) -> rusqlite::Result<Vec<DeviceId>> {
    let others = by_last_seen(connection, user)?;
    let sql = "INSERT INTO devices (id, user, login, name, created_at, last_seen_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    connection.prepare_cached(sql)?.execute(params![
        device.id.as_bytes(),
        user.as_bytes(),
        device.login.as_bytes(),
        device.name,
        device.created_at.0,
        device.last_seen_at.map(|at| at.0),
    ])?;
    let surplus = (others.len() + 1).saturating_sub(most.max(1));
    let evicted: Vec<_> = others.into_iter().take(surplus).collect();
    for device in &evicted {
        remove(connection, *device)?;
    }
    Ok(evicted)
}

fn by_last_seen(connection: &Connection, user: UserId) -> rusqlite::Result<Vec<DeviceId>> {
    let sql = "SELECT id FROM devices WHERE user = ?1 ORDER BY coalesce(last_seen_at, created_at), created_at, id";
    connection
        .prepare_cached(sql)?
        .query_map([user.as_bytes()], |row| id(row, 0).map(DeviceId))?
        .collect()
}

pub fn bind(connection: &Connection, user: UserId, device: DeviceId, login: LoginId) -> rusqlite::Result<bool> {
    let sql = "UPDATE devices SET login = ?3 WHERE id = ?1 AND user = ?2";
    connection
        .prepare_cached(sql)?
        .execute(params![device.as_bytes(), user.as_bytes(), login.as_bytes()])
        .map(|rows| rows == 1)
}

pub fn delete(connection: &Connection, user: UserId, device: DeviceId) -> rusqlite::Result<Option<LoginId>> {
    let sql = "SELECT login FROM devices WHERE id = ?1 AND user = ?2";
    let login = connection
        .prepare_cached(sql)?
        .query_row(params![device.as_bytes(), user.as_bytes()], |row| {
            id(row, 0).map(LoginId)
        })
        .optional()?;
    if login.is_some() {
        remove(connection, device)?;
    }
    Ok(login)
}

pub fn delete_all(connection: &Connection, user: UserId) -> rusqlite::Result<()> {
    let sql = "DELETE FROM devices WHERE user = ?1";
    connection.prepare_cached(sql)?.execute([user.as_bytes()]).map(drop)
}

pub fn touch(connection: &Connection, devices: &[(DeviceId, Timestamp)]) -> rusqlite::Result<()> {
    let sql = "UPDATE devices SET last_seen_at = max(coalesce(last_seen_at, ?2), ?2) WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    for (device, at) in devices {
        statement.execute(params![device.as_bytes(), at.0])?;
    }
    Ok(())
}

fn remove(connection: &Connection, device: DeviceId) -> rusqlite::Result<()> {
    let sql = "DELETE FROM devices WHERE id = ?1";
    connection.prepare_cached(sql)?.execute([device.as_bytes()]).map(drop)
}

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        id: id(row, 0).map(DeviceId)?,
        login: id(row, 1).map(LoginId)?,
        name: row.get(2)?,
        created_at: Timestamp(row.get(3)?),
        last_seen_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
    })
}
