//! The devices of users: one document a user, so that whether a new one makes another go is decided by one update.
//!
//! The document counts its changes (`rev`), and a device is added only to what was read; whoever was slower reads again.
//! So two that are added at once see each other, and neither goes for the other unless it has to.

use std::collections::HashMap;

use mongodb::bson::{Bson, DateTime, Document, Uuid, doc};
use mongodb::options::ReturnDocument;
use rookery_actors::id::{DeviceId, LoginId, UserId};
use rookery_actors::ports::accounts::Device;
use rookery_actors::ports::{PortError, PortResult};
use rookery_actors::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::Mongo;
use super::super::bulk::Update;
use super::super::code::{AsId as _, date, ids, timestamp};
use super::super::query::Query;
use super::DEVICES;

/// Attempts after which something other than a race must be wrong: a user's devices are made one at a time.
const ROUNDS: usize = 64;

/// All devices of a user.
#[derive(Serialize, Deserialize)]
struct DevicesDoc {
    #[serde(rename = "_id")]
    user: Uuid,
    rev: i64,
    /// What a device is found by whose user is not known.
    ids: Vec<Uuid>,
    /// By id.
    devices: HashMap<String, DeviceDoc>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct DeviceDoc {
    pub id: Uuid,
    pub login: Uuid,
    pub name: String,
    pub created_at: DateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<DateTime>,
}

impl From<&Device> for DeviceDoc {
    fn from(device: &Device) -> Self {
        Self {
            id: device.id.id(),
            login: device.login.id(),
            name: device.name.clone(),
            created_at: date(device.created_at),
            last_seen_at: device.last_seen_at.map(date),
        }
    }
}

impl From<DeviceDoc> for Device {
    fn from(stored: DeviceDoc) -> Self {
        Self {
            id: DeviceId::from_id(stored.id),
            login: LoginId::from_id(stored.login),
            name: stored.name,
            created_at: timestamp(stored.created_at),
            last_seen_at: stored.last_seen_at.map(timestamp),
        }
    }
}

/// Where a device stands in its user's document.
fn place(device: DeviceId) -> String {
    format!("devices.{}", name(device))
}

fn name(device: DeviceId) -> String {
    device.0.simple().to_string()
}

/// A user's devices, in order of their making.
pub async fn of(mongo: &Mongo, user: UserId) -> PortResult<Vec<DeviceDoc>> {
    Ok(of_all(mongo, &[user]).await?.remove(&user).unwrap_or_default())
}

/// The devices of users who have any, in order of their making.
pub async fn of_all(mongo: &Mongo, users: &[UserId]) -> PortResult<HashMap<UserId, Vec<DeviceDoc>>> {
    let query = Query::of(doc! { "_id": { "$in": ids(users) } });
    let found: Vec<DevicesDoc> = mongo.find(DEVICES, query).await?;
    let in_order = |found: DevicesDoc| {
        let mut devices: Vec<_> = found.devices.into_values().collect();
        devices.sort_unstable_by_key(|device| (device.created_at, device.id.bytes()));
        (UserId::from_id(found.user), devices)
    };
    Ok(found.into_iter().map(in_order).collect())
}

/// Adds a device; answers those that made room.
pub async fn create(mongo: &Mongo, user: UserId, device: &Device, most: usize) -> PortResult<Vec<DeviceId>> {
    for _ in 0..ROUNDS {
        let stored: Option<DevicesDoc> = mongo
            .find_one(DEVICES, doc! { "_id": user.id() }, Document::new())
            .await?;
        let Some(stored) = stored else {
            let first = DevicesDoc {
                user: user.id(),
                rev: 1,
                ids: vec![device.id.id()],
                devices: HashMap::from([(name(device.id), device.into())]),
            };
            if mongo.insert_one(DEVICES, &first).await? {
                return Ok(Vec::new());
            }
            continue;
        };
        let going = surplus(&stored, device.id, most);
        let filter = doc! { "_id": user.id(), "rev": stored.rev };
        if mongo
            .update_one(DEVICES, filter, addition(&stored, device, &going))
            .await?
        {
            return Ok(going);
        }
    }
    Err(PortError::Unavailable(
        "MongoDB: a user's devices changed again and again".into(),
    ))
}

/// Who makes room for a new device: those seen longest ago.
fn surplus(stored: &DevicesDoc, new: DeviceId, most: usize) -> Vec<DeviceId> {
    let mut others: Vec<_> = stored.devices.values().filter(|device| device.id != new.id()).collect();
    others.sort_unstable_by_key(|device| {
        let seen = device.last_seen_at.unwrap_or(device.created_at);
        (seen, device.created_at, device.id.bytes())
    });
    let surplus = (others.len() + 1).saturating_sub(most.max(1));
    others
        .into_iter()
        .take(surplus)
        .map(|device| DeviceId::from_id(device.id))
        .collect()
}

fn addition(stored: &DevicesDoc, device: &Device, going: &[DeviceId]) -> Document {
    let new = DeviceDoc::from(device);
    let stays = |id: &&Uuid| **id != new.id && !going.iter().any(|gone| gone.id() == **id);
    let mut ids: Vec<_> = stored.ids.iter().filter(stays).copied().collect();
    ids.push(new.id);
    let mut value = doc! { "id": new.id, "login": new.login, "name": new.name, "created_at": new.created_at };
    if let Some(seen) = new.last_seen_at {
        value.insert("last_seen_at", seen);
    }
    let mut change = doc! { "$set": { place(device.id): value, "ids": ids }, "$inc": { "rev": 1 } };
    if !going.is_empty() {
        let unset: Document = going.iter().map(|gone| (place(*gone), Bson::from(""))).collect();
        change.insert("$unset", unset);
    }
    change
}

/// Gives a device to another login; false when it isn't this user's.
pub async fn bind(mongo: &Mongo, user: UserId, device: DeviceId, login: LoginId) -> PortResult<bool> {
    let filter = doc! { "_id": user.id(), "ids": device.id() };
    let login = doc! { "$set": { format!("{}.login", place(device)): login.id() } };
    mongo.update_one(DEVICES, filter, login).await
}

/// Deletes a device; answers its login, `None` when it isn't this user's.
pub async fn delete(mongo: &Mongo, user: UserId, device: DeviceId) -> PortResult<Option<LoginId>> {
    let filter = doc! { "_id": user.id(), "ids": device.id() };
    let change = doc! { "$pull": { "ids": device.id() }, "$unset": { place(device): "" }, "$inc": { "rev": 1 } };
    let before = mongo
        .find_and_update::<DevicesDoc>(DEVICES, filter, change, ReturnDocument::Before)
        .await?;
    let before = before.ok().flatten();
    let gone = before.and_then(|mut before| before.devices.remove(&name(device)));
    Ok(gone.map(|gone| LoginId::from_id(gone.login)))
}

/// Deletes all devices of a user.
pub async fn delete_all(mongo: &Mongo, user: UserId) -> PortResult<()> {
    mongo.delete(DEVICES, doc! { "_id": user.id() }).await.map(drop)
}

/// Moves forward when devices were last seen.
pub async fn touch(mongo: &Mongo, devices: &[(DeviceId, Timestamp)]) -> PortResult<()> {
    let update = |(device, at): &(DeviceId, Timestamp)| {
        let seen = doc! { "$max": { format!("{}.last_seen_at", place(*device)): date(*at) } };
        Update::one(doc! { "ids": device.id() }, seen)
    };
    let updates: Vec<_> = devices.iter().map(update).collect();
    mongo.update(DEVICES, &updates).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(nth: i64, seen: Option<i64>) -> Device {
        Device {
            id: DeviceId::fresh(),
            login: LoginId::fresh(),
            name: "a phone".into(),
            created_at: Timestamp(nth),
            last_seen_at: seen.map(Timestamp),
        }
    }

    #[test]
    fn those_seen_longest_ago_make_room_and_never_the_new_one() {
        let devices = [device(1, Some(9)), device(2, None), device(3, None)];
        let stored = DevicesDoc {
            user: UserId::fresh().id(),
            rev: 1,
            ids: devices.iter().map(|device| device.id.id()).collect(),
            devices: devices.iter().map(|device| (name(device.id), device.into())).collect(),
        };
        let new = DeviceId::fresh();
        assert_eq!(surplus(&stored, new, 4), []);
        assert_eq!(surplus(&stored, new, 3), [devices[1].id]);
        assert_eq!(surplus(&stored, new, 0), [devices[1].id, devices[2].id, devices[0].id]);
        assert_eq!(surplus(&stored, devices[1].id, 3), [], "a repeat takes no place");
    }
}
