//! Reading entries. What lies beyond the stored head is not committed and is not shown, and of a deleted group nothing is.
//! So the head is read first: every entry up to it was there before.

use mongodb::bson::{Document, doc};
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::chats::{Entry, Span, StoredMessage};

use super::super::Mongo;
use super::super::code::AsId as _;
use super::super::query::Query;
use super::entry::{EntryDoc, kind};
use super::{ENTRIES, inbox, keys};

/// Up to where a conversation may be read.
async fn head(mongo: &Mongo, conversation: ConversationId) -> PortResult<u64> {
    let heads = inbox::heads(mongo, &[conversation]).await?;
    Ok(heads.first().copied().unwrap_or_default())
}

/// Entries of a range, oldest first.
pub async fn entries(
    mongo: &Mongo,
    conversation: ConversationId,
    from: u64,
    to: u64,
    limit: usize,
) -> PortResult<Vec<Entry>> {
    if limit == 0 || from > to {
        return Ok(Vec::new());
    }
    let to = to.min(head(mongo, conversation).await?);
    if from > to || to == 0 {
        return Ok(Vec::new());
    }
    let query = Query::of(keys::entries(conversation, from, to))
        .sort(doc! { "_id": 1 })
        .limit(limit);
    let found: Vec<EntryDoc> = mongo.find(ENTRIES, query).await?;
    Ok(found.into_iter().filter_map(EntryDoc::into_entry).collect())
}

/// Messages of a span, and whether there are more.
pub async fn messages(
    mongo: &Mongo,
    conversation: ConversationId,
    span: Span,
    limit: usize,
) -> PortResult<(Vec<StoredMessage>, bool)> {
    let head = head(mongo, conversation).await?;
    let (from, to, direction) = match span {
        Span::Before(before) => (1, before.saturating_sub(1).min(head), -1),
        Span::After(after) => (after.saturating_add(1), head, 1),
    };
    if from > to {
        return Ok((Vec::new(), false));
    }
    let query = Query::of(messages_of(conversation, from, to)).sort(doc! { "_id": direction });
    let found: Vec<EntryDoc> = mongo.find(ENTRIES, query.limit(limit.saturating_add(1))).await?;
    let more = found.len() > limit;
    let messages = found.into_iter().take(limit).filter_map(EntryDoc::into_message);
    Ok((messages.collect(), more))
}

/// The latest message up to a head that is committed.
pub async fn latest(mongo: &Mongo, conversation: ConversationId, head: u64) -> PortResult<Option<StoredMessage>> {
    let query = Query::of(messages_of(conversation, 1, head)).sort(doc! { "_id": -1 });
    let found: Vec<EntryDoc> = mongo.find(ENTRIES, query.limit(1)).await?;
    Ok(found.into_iter().next().and_then(EntryDoc::into_message))
}

fn messages_of(conversation: ConversationId, from: u64, to: u64) -> Document {
    let mut filter = keys::entries(conversation, from, to);
    filter.insert("kind", kind::MESSAGE);
    filter
}

/// One message.
pub async fn message(mongo: &Mongo, conversation: ConversationId, seq: u64) -> PortResult<Option<StoredMessage>> {
    let filter = doc! { "_id": keys::entry(conversation, seq), "kind": kind::MESSAGE };
    let found = mongo.find_one::<EntryDoc>(ENTRIES, filter, Document::new());
    let (found, head) = tokio::try_join!(found, head(mongo, conversation))?;
    Ok(found.filter(|_| seq <= head).and_then(EntryDoc::into_message))
}

/// Messages of others beyond a seq and up to another, counted up to `most`.
pub async fn unread(
    mongo: &Mongo,
    conversation: ConversationId,
    user: UserId,
    (after, upto): (u64, u64),
    most: u32,
) -> PortResult<u32> {
    if most == 0 || after >= upto {
        return Ok(0);
    }
    let upto = upto.min(head(mongo, conversation).await?);
    unread_of(mongo, conversation, user, (after, upto), most).await
}

/// The same up to a head that is committed.
pub async fn unread_of(
    mongo: &Mongo,
    conversation: ConversationId,
    user: UserId,
    (after, upto): (u64, u64),
    most: u32,
) -> PortResult<u32> {
    if after >= upto {
        return Ok(0);
    }
    let mut filter = messages_of(conversation, after + 1, upto);
    filter.insert("from", doc! { "$ne": user.id() });
    mongo.count(ENTRIES, filter, most).await
}
