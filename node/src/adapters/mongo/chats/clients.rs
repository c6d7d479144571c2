//! Client ids: what the latest entries of a conversation say of themselves, and the messages that have some ids.

use std::collections::HashMap;

use mongodb::bson::{Binary, DateTime, Document, Uuid, doc};
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::chats::{DEDUPE_WINDOW, RecentChange, RecentId, Sought};
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

/// What an entry says of itself.
#[derive(Deserialize)]
struct RecentDoc {
    #[serde(rename = "_id")]
    key: Binary,
    from: Uuid,
    at: DateTime,
    /// What only a message has.
    message: Option<ClientIdDoc>,
    /// What only an update has.
    of: Option<i64>,
    idempotency: Option<i64>,
}

impl RecentDoc {
    fn seq(&self) -> u64 {
        keys::seq(&self.key)
    }

    fn id(&self) -> Option<RecentId> {
        let message = self.message.as_ref()?;
        Some(RecentId {
            from: UserId::from_id(self.from),
            id: message.id.clone(),
            seq: self.seq(),
            at: timestamp(self.at),
        })
    }

    fn change(&self) -> Option<RecentChange> {
        Some(RecentChange {
            seq: self.seq(),
            of: self.of? as u64,
            from: UserId::from_id(self.from),
            idempotency: self.idempotency.map(i64::cast_unsigned),
        })
    }
}

/// The client ids of the latest messages up to a head, and the changes among its latest entries; each oldest first.
///
/// One read, as a rule: changes take the places of messages in it, and where there are more of those they are read after.
pub async fn latest(
    mongo: &Mongo,
    conversation: ConversationId,
    head: u64,
) -> PortResult<(Vec<RecentId>, Vec<RecentChange>)> {
    let read = |filter: Document, limit: usize| {
        let mut fields = fields();
        fields.extend(doc! { "of": 1, "idempotency": 1 });
        let query = Query::of(filter).fields(fields).sort(doc! { "_id": -1 });
        mongo.find::<RecentDoc>(ENTRIES, query.limit(limit))
    };
    let mut found = read(keys::entries(conversation, 0, head), DEDUPE_WINDOW).await?;
    let mut changes: Vec<_> = found.iter().filter_map(RecentDoc::change).collect();
    let oldest = found.last().map_or(0, RecentDoc::seq);
    if !changes.is_empty() && oldest > 1 {
        let mut older = keys::entries(conversation, 0, oldest - 1);
        older.insert("kind", kind::MESSAGE);
        found.extend(read(older, changes.len()).await?);
    }
    let mut ids: Vec<_> = found.iter().filter_map(RecentDoc::id).collect();
    ids.reverse();
    changes.reverse();
    Ok((ids, changes))
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
