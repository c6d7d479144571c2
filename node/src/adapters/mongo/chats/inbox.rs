//! A user's conversations and devices, and the cursors in them.

use std::collections::{HashMap, HashSet};

use mongodb::bson::{Binary, DateTime, Document, Uuid, doc};
use rookery_actors::id::{ConversationId, DeviceId, LoginId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::chats::{CursorUpdate, DeviceCursors, Inbox, Membership};
use rookery_actors::time::Timestamp;
use serde::Deserialize;

use super::super::Mongo;
use super::super::accounts::devices::{self, DeviceDoc};
use super::super::bulk::Update;
use super::super::code::{AsId as _, date, head_of, ids, number, timestamp};
use super::super::query::Query;
use super::conversation::ConversationDoc;
use super::{CONVERSATIONS, MEMBERSHIPS, keys};

/// Cursors of devices in a membership from which on those of devices that are gone are looked for and dropped.
const MANY: usize = 16;

#[derive(Deserialize)]
struct MembershipDoc {
    #[serde(rename = "_id")]
    key: Binary,
    user: Uuid,
    joined_at: DateTime,
    joined_seq: i64,
    read: i64,
    delivered: i64,
    muted_until: Option<DateTime>,
    #[serde(default)]
    pinned: bool,
    /// The devices' cursors, by their names.
    #[serde(default)]
    devices: HashMap<String, i64>,
}

/// The inboxes of these users, in their order, in two steps whatever their number.
pub async fn all(mongo: &Mongo, users: &[UserId]) -> PortResult<Vec<Inbox>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let query = Query::of(doc! { "user": { "$in": ids(users) } });
    let (memberships, devices) = tokio::try_join!(
        mongo.find::<MembershipDoc>(MEMBERSHIPS, query),
        devices::of_all(mongo, users)
    )?;
    let named: HashSet<ConversationId> = memberships.iter().filter_map(|one| head_of(&one.key)).collect();
    let named: Vec<_> = named.into_iter().collect();
    let conversations = living(mongo, &named).await?;
    let mut by_user: HashMap<Uuid, Vec<MembershipDoc>> = HashMap::new();
    for membership in memberships {
        by_user.entry(membership.user).or_default().push(membership);
    }
    let mut inboxes = Vec::with_capacity(users.len());
    for user in users {
        let memberships = by_user.get(&user.id()).map_or([].as_slice(), Vec::as_slice);
        let devices = devices.get(user).map_or([].as_slice(), Vec::as_slice);
        drop_gone(mongo, *user, memberships, devices).await?;
        inboxes.push(inbox(memberships, devices, &conversations));
    }
    Ok(inboxes)
}

fn inbox(
    memberships: &[MembershipDoc],
    devices: &[DeviceDoc],
    conversations: &HashMap<ConversationId, ConversationDoc>,
) -> Inbox {
    let mut inbox = Inbox {
        memberships: Vec::with_capacity(memberships.len()),
        devices: devices.iter().map(device).collect(),
    };
    for stored in memberships {
        let Some(conversation) = head_of(&stored.key) else {
            continue;
        };
        let Some(known) = conversations.get(&conversation) else {
            continue;
        };
        for device in &mut inbox.devices {
            if let Some(seq) = stored.devices.get(&keys::device(device.device)) {
                device.cursors.push((conversation, *seq as u64));
            }
        }
        inbox.memberships.push(Membership {
            conversation,
            head: known.head as u64,
            active_at: timestamp(known.active_at),
            joined_seq: stored.joined_seq as u64,
            joined_at: timestamp(stored.joined_at),
            read: stored.read as u64,
            delivered: stored.delivered as u64,
            muted_until: stored.muted_until.map(timestamp),
            pinned: stored.pinned,
        });
    }
    inbox
}

/// A device, without cursors.
fn device(stored: &DeviceDoc) -> DeviceCursors {
    DeviceCursors {
        device: DeviceId::from_id(stored.id),
        login: LoginId::from_id(stored.login),
        name: stored.name.clone(),
        created_at: timestamp(stored.created_at),
        last_seen_at: stored.last_seen_at.map(timestamp),
        cursors: Vec::new(),
    }
}

/// The cursors of devices that are gone are dropped, where there are many. A device is made before it has a cursor, so one
/// that is not there after its cursor was read is gone: the devices are read once more.
async fn drop_gone(
    mongo: &Mongo,
    user: UserId,
    memberships: &[MembershipDoc],
    devices: &[DeviceDoc],
) -> PortResult<()> {
    let crowded = |one: &&MembershipDoc| one.devices.len() > MANY.max(devices.len());
    let crowded: Vec<_> = memberships.iter().filter(crowded).collect();
    if crowded.is_empty() {
        return Ok(());
    }
    let now = devices::of(mongo, user).await?;
    let there: HashSet<_> = now
        .iter()
        .map(|device| keys::device(DeviceId::from_id(device.id)))
        .collect();
    let updates: Vec<_> = crowded
        .into_iter()
        .filter_map(|one| {
            let gone = one.devices.keys().filter(|name| !there.contains(*name));
            let unset: Document = gone.map(|name| (format!("devices.{name}"), "".into())).collect();
            (!unset.is_empty()).then(|| Update::one(doc! { "_id": &one.key }, doc! { "$unset": unset }))
        })
        .collect();
    mongo.update(MEMBERSHIPS, &updates).await.map(drop)
}

/// Those of the conversations that are there and not deleted.
pub async fn living(
    mongo: &Mongo,
    conversations: &[ConversationId],
) -> PortResult<HashMap<ConversationId, ConversationDoc>> {
    if conversations.is_empty() {
        return Ok(HashMap::new());
    }
    let fields = doc! { "head": 1, "active_at": 1, "deleted": 1 };
    let query = Query::of(doc! { "_id": { "$in": ids(conversations) } }).fields(fields);
    let found: Vec<ConversationDoc> = mongo.find(CONVERSATIONS, query).await?;
    let living = found.into_iter().filter(|found| !found.deleted);
    Ok(living.map(|found| (ConversationId::from_id(found.id), found)).collect())
}

/// Stored heads, in order.
pub async fn heads(mongo: &Mongo, conversations: &[ConversationId]) -> PortResult<Vec<u64>> {
    let living = living(mongo, conversations).await?;
    let head = |conversation| living.get(conversation).map_or(0, |found| found.head as u64);
    Ok(conversations.iter().map(head).collect())
}

/// A membership, while it lasts.
fn of_member(conversation: ConversationId, user: UserId) -> Document {
    doc! { "_id": keys::membership(conversation, user), "user": { "$exists": true } }
}

/// Whether the user is stored as a member.
pub async fn is_member(mongo: &Mongo, conversation: ConversationId, user: UserId) -> PortResult<bool> {
    let found = mongo.find_one::<Document>(MEMBERSHIPS, of_member(conversation, user), doc! { "_id": 1 });
    Ok(found.await?.is_some())
}

/// Moves cursors forward.
pub async fn save_cursors(mongo: &Mongo, updates: &[CursorUpdate]) -> PortResult<()> {
    let update = |update: &CursorUpdate| {
        let mut furthest = doc! { "read": number(update.read), "delivered": number(update.delivered) };
        for (device, seq) in &update.devices {
            furthest.insert(format!("devices.{}", keys::device(*device)), number(*seq));
        }
        Update::one(of_member(update.conversation, update.user), doc! { "$max": furthest })
    };
    let updates: Vec<_> = updates.iter().map(update).collect();
    mongo.update(MEMBERSHIPS, &updates).await.map(drop)
}

/// A user's own settings of a conversation; false when the user is no member.
pub async fn save_preferences(
    mongo: &Mongo,
    user: UserId,
    conversation: ConversationId,
    muted_until: Option<Option<Timestamp>>,
    pinned: Option<bool>,
) -> PortResult<bool> {
    let filter = of_member(conversation, user);
    let (mut set, mut change) = (Document::new(), Document::new());
    match muted_until {
        Some(Some(until)) => drop(set.insert("muted_until", date(until))),
        Some(None) => drop(change.insert("$unset", doc! { "muted_until": "" })),
        None => {}
    }
    if let Some(pinned) = pinned {
        set.insert("pinned", pinned);
    }
    if !set.is_empty() {
        change.insert("$set", set);
    }
    if change.is_empty() {
        return is_member(mongo, conversation, user).await;
    }
    mongo.update_one(MEMBERSHIPS, filter, change).await
}
