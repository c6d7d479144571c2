//! Client ids: the latest of a conversation, and the messages that have some of them.

use std::collections::HashMap;

use mongodb::bson::{Binary, DateTime, Document, Uuid, doc};
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::chats::{DEDUPE_WINDOW, RecentId, Sought};
use rookery_actors::time::Timestamp;
use serde::Deserialize;

use super::super::Mongo;
use super::super::code::{AsId as _, head_of, timestamp};
use super::super::query::Query;
use super::entry::kind;
use super::{ENTRIES, inbox, keys};

/// What a message says of its client id.
#[derive(Deserialize)]
struct ClientDoc {
    #[serde(rename = "_id")]
    key: Binary,
    from: Uuid,
    at: DateTime,
    message: ClientIdDoc,
}

#[derive(Deserialize)]
struct ClientIdDoc {
    id: String,
}

fn fields() -> Document {
    doc! { "from": 1, "at": 1, "message.id": 1 }
}

impl ClientDoc {
    fn seq(&self) -> u64 {
        keys::seq(&self.key)
    }
}

/// The client ids of the latest messages up to a head, oldest first.
pub async fn latest(mongo: &Mongo, conversation: ConversationId, head: u64) -> PortResult<Vec<RecentId>> {
    let mut filter: Document = keys::entries(conversation, 0, head);
    filter.insert("kind", kind::MESSAGE);
    let query = Query::of(filter)
        .fields(fields())
        .sort(doc! { "_id": -1 })
        .limit(DEDUPE_WINDOW);
    let found: Vec<ClientDoc> = mongo.find(ENTRIES, query).await?;
    let recent = found.into_iter().rev().map(|found| RecentId {
        from: UserId::from_id(found.from),
        seq: found.seq(),
        at: timestamp(found.at),
        id: found.message.id,
    });
    Ok(recent.collect())
}

/// The messages with these client ids, in their order; of several with the same the latest. One read, whatever their number,
/// and another of the heads where some are found: what lies beyond the stored head is not committed.
pub async fn find(mongo: &Mongo, sought: &[Sought]) -> PortResult<Vec<Option<(u64, Timestamp)>>> {
    let digest = |one: &Sought| keys::client(one.conversation, one.from, &one.id);
    let digests: Vec<Binary> = sought.iter().map(digest).collect();
    let query = Query::of(doc! { "message.client": { "$in": digests } }).fields(fields());
    let candidates: Vec<ClientDoc> = mongo.find(ENTRIES, query).await?;
    let named: Vec<ConversationId> = candidates.iter().filter_map(|one| head_of(&one.key)).collect();
    let living = inbox::living(mongo, &named).await?;
    let mut found: HashMap<(ConversationId, UserId, &str), (u64, Timestamp)> = HashMap::new();
    for one in &candidates {
        let Some(conversation) = head_of(&one.key) else {
            continue;
        };
        let head = living.get(&conversation).map_or(0, |stored| stored.head as u64);
        if one.seq() <= head {
            let key = (conversation, UserId::from_id(one.from), one.message.id.as_str());
            let latest = found.entry(key).or_default();
            *latest = (*latest).max((one.seq(), timestamp(one.at)));
        }
    }
    let answer = |one: &Sought| found.get(&(one.conversation, one.from, one.id.as_str())).copied();
    Ok(sought.iter().map(answer).collect())
}
