//! Who is, was and knows whom.

use std::collections::HashSet;

use mongodb::bson::{Binary, Document, doc};
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::chats::Cursors;
use serde::Deserialize;

use super::super::Mongo;
use super::super::code::{AsId as _, head_of, ids};
use super::super::query::Query;
use super::{MEMBERSHIPS, inbox, keys};

#[derive(Deserialize)]
struct CursorsDoc {
    #[serde(rename = "_id")]
    key: Binary,
    delivered: i64,
    read: i64,
}

/// Cursors of the members beyond one, by user id.
pub async fn receipts(
    mongo: &Mongo,
    conversation: ConversationId,
    after: Option<UserId>,
    limit: usize,
) -> PortResult<Vec<Cursors>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut filter = keys::memberships(conversation, after);
    filter.insert("user", doc! { "$exists": true });
    let fields = doc! { "delivered": 1, "read": 1 };
    let query = Query::of(filter).fields(fields).sort(doc! { "_id": 1 }).limit(limit);
    let asked = [conversation];
    let (found, living) = tokio::try_join!(
        mongo.find::<CursorsDoc>(MEMBERSHIPS, query),
        inbox::living(mongo, &asked)
    )?;
    if living.is_empty() {
        return Ok(Vec::new());
    }
    let cursors = found.into_iter().map(|found| Cursors {
        user: keys::user(&found.key),
        delivered: found.delivered as u64,
        read: found.read as u64,
    });
    Ok(cursors.collect())
}

#[derive(Deserialize)]
struct KeyDoc {
    #[serde(rename = "_id")]
    key: Binary,
}

/// The keys of the memberships of these users.
async fn memberships_of(mongo: &Mongo, users: &[UserId]) -> PortResult<Vec<Binary>> {
    let query = Query::of(doc! { "user": { "$in": ids(users) } }).fields(doc! { "_id": 1 });
    let found: Vec<KeyDoc> = mongo.find(MEMBERSHIPS, query).await?;
    Ok(found.into_iter().map(|found| found.key).collect())
}

/// Which of `others` share a conversation with the user, in their order.
pub async fn acquainted(mongo: &Mongo, user: UserId, others: &[UserId]) -> PortResult<Vec<UserId>> {
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let asked = [user];
    let (own, theirs) = tokio::try_join!(memberships_of(mongo, &asked), memberships_of(mongo, others))?;
    let own: HashSet<ConversationId> = own.iter().filter_map(head_of).collect();
    let shared = |key: &Binary| {
        Some((
            head_of(key).filter(|conversation| own.contains(conversation))?,
            keys::user(key),
        ))
    };
    let shared: Vec<(ConversationId, UserId)> = theirs.iter().filter_map(shared).collect();
    let conversations: HashSet<_> = shared.iter().map(|(conversation, _)| *conversation).collect();
    let conversations: Vec<_> = conversations.into_iter().collect();
    let living = inbox::living(mongo, &conversations).await?;
    let known: HashSet<_> = shared
        .into_iter()
        .filter(|(conversation, _)| living.contains_key(conversation))
        .map(|(_, user)| user)
        .collect();
    Ok(others.iter().filter(|other| known.contains(other)).copied().collect())
}

/// Whether the user is or was a member: whoever left leaves a document.
pub async fn was_member(mongo: &Mongo, conversation: ConversationId, user: UserId) -> PortResult<bool> {
    let filter = doc! { "_id": keys::membership(conversation, user) };
    let found = mongo.find_one::<Document>(MEMBERSHIPS, filter, doc! { "_id": 1 });
    let asked = [conversation];
    let (found, living) = tokio::try_join!(found, inbox::living(mongo, &asked))?;
    Ok(found.is_some() && living.contains_key(&conversation))
}

/// Those of the conversations that the user is a member of now.
pub async fn memberships_among(
    mongo: &Mongo,
    user: UserId,
    conversations: &[ConversationId],
) -> PortResult<HashSet<ConversationId>> {
    if conversations.is_empty() {
        return Ok(HashSet::new());
    }
    let keys: Vec<_> = conversations
        .iter()
        .map(|conversation| keys::membership(*conversation, user))
        .collect();
    let query = Query::of(doc! { "_id": { "$in": keys }, "user": user.id() }).fields(doc! { "_id": 1 });
    let (found, living) = tokio::try_join!(
        mongo.find::<KeyDoc>(MEMBERSHIPS, query),
        inbox::living(mongo, conversations)
    )?;
    let present = found.iter().filter_map(|found| head_of(&found.key));
    Ok(present
        .filter(|conversation| living.contains_key(conversation))
        .collect())
}
