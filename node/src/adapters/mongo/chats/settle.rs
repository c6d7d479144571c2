//! Carrying out what conversations have committed: changes of members, and the sweep behind a deleted group.
//!
//! Anybody may do it, several at once, and again. A membership carries the offset of the commit that wrote it last (`v`) and
//! takes only a later one; all changes that are open are netted, oldest first, before the first is written, so that nobody
//! writes a later one while an earlier one is still to come. A journal entry is struck when its effects are confirmed.
//!
//! Whoever left keeps a document with `v` alone: it remembers that there was a member, and keeps an older change out.
//! Cursors stand with the membership, so they go with it; a member who is named again (another role) keeps them, and is told
//! from one who came again by when the joining was.

use std::collections::BTreeMap;

use mongodb::bson::{Binary, DateTime, Document, Uuid, doc};
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::PortResult;
use serde::{Deserialize, Serialize};

use super::super::Mongo;
use super::super::bulk::Update;
use super::super::code::AsId as _;
use super::super::query::Query;
use super::conversation::{ChangeDoc, ConversationDoc, MemberDoc, document};
use super::plan::{self, Roster, Standing};
use super::{CONVERSATIONS, ENTRIES, MEMBERSHIPS, keys};

/// Documents removed in one go: some tens of milliseconds of the server's.
const SWEPT_AT_ONCE: usize = 5_000;

/// Carries out whatever is open in these conversations.
pub async fn all(mongo: &Mongo, stored: Vec<ConversationDoc>) -> PortResult<()> {
    let mut memberships = Vec::new();
    let mut strikes = Vec::new();
    for one in &stored {
        if one.deleted && !one.swept {
            sweep(mongo, ConversationId::from_id(one.id)).await?;
        }
        if !one.deleted && !one.changes.is_empty() {
            memberships.extend(net(one)?);
            let struck: Vec<_> = one.changes.iter().map(|change| change.v).collect();
            strikes.push(Update::one(
                doc! { "_id": one.id },
                doc! { "$pull": { "changes": { "v": { "$in": struck } } } },
            ));
        }
    }
    if strikes.is_empty() {
        return Ok(());
    }
    write(mongo, memberships).await?;
    mongo.update(CONVERSATIONS, &strikes).await.map(drop)
}

/// How one user is to stand in one conversation, as of which commit.
struct Place {
    key: Binary,
    v: i64,
    standing: Standing,
}

/// What all open changes of a conversation come to.
fn net(stored: &ConversationDoc) -> PortResult<Vec<Place>> {
    let mut changes: Vec<&ChangeDoc> = stored.changes.iter().collect();
    changes.sort_by_key(|change| change.v);
    let (mut roster, mut versions) = (Roster::new(), BTreeMap::new());
    for change in changes {
        for (user, standing) in change.standings()? {
            plan::stand(&mut roster, user, standing);
            versions.insert(user, change.v);
        }
    }
    let conversation = ConversationId::from_id(stored.id);
    let place = |(user, standing): (UserId, Standing)| Place {
        key: keys::membership(conversation, user),
        v: versions[&user],
        standing,
    };
    Ok(roster.into_iter().map(place).collect())
}

/// A membership; what somebody leaves behind has the first two fields alone.
#[derive(Serialize)]
struct MembershipDoc {
    #[serde(rename = "_id")]
    key: Binary,
    v: i64,
    #[serde(flatten)]
    living: Option<LivingDoc>,
}

#[derive(Serialize)]
struct LivingDoc {
    user: Uuid,
    role: i32,
    joined_at: DateTime,
    joined_seq: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_since: Option<DateTime>,
    read: i64,
    delivered: i64,
}

impl Place {
    fn document(&self) -> MembershipDoc {
        let living = match &self.standing {
            Standing::Gone { .. } => None,
            Standing::Member(member) => {
                let member = MemberDoc::from(member);
                Some(LivingDoc {
                    user: member.user,
                    role: member.role,
                    joined_at: member.joined_at,
                    joined_seq: member.joined_seq,
                    admin_since: member.admin_since,
                    read: member.joined_seq,
                    delivered: member.joined_seq,
                })
            }
        };
        MembershipDoc {
            key: self.key.clone(),
            v: self.v,
            living,
        }
    }

    /// Whether there has to be a document afterwards, also where there was none.
    fn is_new(&self) -> bool {
        self.standing != Standing::Gone { was: false }
    }

    fn updates(&self) -> PortResult<Vec<Update>> {
        let older = || doc! { "_id": &self.key, "v": { "$lt": self.v } };
        let Standing::Member(member) = &self.standing else {
            return Ok(vec![Update::one(older(), doc! { "v": self.v })]);
        };
        let member = MemberDoc::from(member);
        let (mut same, mut other) = (older(), older());
        same.extend(doc! { "user": member.user, "joined_at": member.joined_at, "joined_seq": member.joined_seq });
        other.insert(
            "$or",
            [
                doc! { "user": { "$exists": false } },
                doc! { "joined_at": { "$ne": member.joined_at } },
                doc! { "joined_seq": { "$ne": member.joined_seq } },
            ],
        );
        let mut role = doc! { "$set": { "v": self.v, "role": member.role } };
        match member.admin_since {
            Some(since) => drop(
                role.get_document_mut("$set")
                    .map(|set| set.insert("admin_since", since)),
            ),
            None => drop(role.insert("$unset", doc! { "admin_since": "" })),
        }
        Ok(vec![
            Update::one(same, role),
            Update::one(other, document(&self.document())?),
        ])
    }
}

/// Writes places: most are new, the others are changed where they stand.
async fn write(mongo: &Mongo, places: Vec<Place>) -> PortResult<()> {
    let (new, mut known): (Vec<_>, Vec<_>) = places.into_iter().partition(Place::is_new);
    let documents: Vec<_> = new.iter().map(Place::document).collect();
    let taken = mongo.insert(MEMBERSHIPS, &documents).await?;
    let mut new: Vec<_> = new.into_iter().map(Some).collect();
    known.extend(taken.into_iter().filter_map(|place| new.get_mut(place)?.take()));
    let updates = known.iter().map(Place::updates).collect::<PortResult<Vec<_>>>()?;
    let updates: Vec<_> = updates.into_iter().flatten().collect();
    mongo.update(MEMBERSHIPS, &updates).await.map(drop)
}

#[derive(Deserialize)]
struct KeyDoc {
    #[serde(rename = "_id")]
    key: Binary,
}

/// Removes everything of a deleted group but its tombstone.
async fn sweep(mongo: &Mongo, conversation: ConversationId) -> PortResult<()> {
    for (collection, length) in [(MEMBERSHIPS, 16), (ENTRIES, 8)] {
        let (low, high) = keys::all_of(conversation, length);
        loop {
            let range = |to: &Binary| -> Document {
                doc! { "_id": { "$gte": &low, "$lte": to } }
            };
            let query = Query::of(range(&high))
                .fields(doc! { "_id": 1 })
                .sort(doc! { "_id": 1 });
            let found: Vec<KeyDoc> = mongo.find(collection, query.limit(SWEPT_AT_ONCE)).await?;
            let Some(last) = found.last() else { break };
            mongo.delete(collection, range(&last.key)).await?;
            if found.len() < SWEPT_AT_ONCE {
                break;
            }
        }
    }
    let swept = doc! { "$set": { "swept": true } };
    mongo
        .update_one(CONVERSATIONS, doc! { "_id": conversation.id(), "deleted": true }, swept)
        .await
        .map(drop)
}
