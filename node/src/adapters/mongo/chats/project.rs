//! Projections: what the log says of conversations, made documents.
//!
//! 1. The entries are inserted. One that is there stays: the log makes every projector write the same.
//! 2. The updates are folded into the messages that were there before (`fold.rs`).
//! 3. **The commit.** The conversation's document takes `applied`, head, profile, and the change of members as a journal
//!    entry, in one update that only matches while `applied` is smaller. Two projectors cannot both win it.
//! 4. The journal is carried out on the memberships, and what was carried out is struck from it (`settle.rs`).
//!
//! Until 3 nothing shows: entries are read up to the stored head. From 3 on everything holds: whoever loads the conversation
//! settles first, and so does whoever projects once more. A crash anywhere is mended by the replay of the log, which does
//! again what was done without effect.

use std::collections::HashMap;

use mongodb::bson::{Document, doc};
use rookery_actors::id::ConversationId;
use rookery_actors::ports::PortResult;
use rookery_actors::ports::chats::{Profile, Projection};
use rookery_actors::time::Timestamp;

use super::super::Mongo;
use super::super::bulk::Update;
use super::super::code::{AsId as _, date, ids, number};
use super::super::query::Query;
use super::conversation::{ChangeDoc, ConversationDoc, ProfileDoc, document, progress};
use super::entry::EntryDoc;
use super::fold::{self, Target};
use super::plan::{self, Plan};
use super::{CONVERSATIONS, ENTRIES, settle};

/// Takes projections, in order for each conversation.
pub async fn all(mongo: &Mongo, batch: Vec<Projection>) -> PortResult<()> {
    let plans = plan::of(batch);
    write_entries(mongo, &plans).await?;
    let rejected = commit(mongo, &plans).await?;
    let unsettled = |plan: &Plan| rejected.contains_key(&plan.conversation) || plan.deleted || !plan.roster.is_empty();
    let unsettled: Vec<_> = plans
        .iter()
        .filter(|plan| unsettled(plan))
        .map(|plan| plan.conversation)
        .collect();
    if unsettled.is_empty() {
        return Ok(());
    }
    let query = Query::of(doc! { "_id": { "$in": ids(&unsettled) } }).fields(progress());
    let stored: Vec<ConversationDoc> = mongo.find(CONVERSATIONS, query).await?;
    advance_tombstones(mongo, &stored, &rejected).await?;
    settle::all(mongo, stored).await
}

async fn write_entries(mongo: &Mongo, plans: &[Plan]) -> PortResult<()> {
    let (mut documents, mut new, mut older) = (Vec::new(), Vec::new(), Vec::new());
    for plan in plans.iter().filter(|plan| !plan.deleted) {
        for (message, folded) in plan.messages.values() {
            let updates = plan.updates.get(&message.seq).map_or([].as_slice(), Vec::as_slice);
            new.push(Target::new(plan.conversation, message.seq, updates));
            documents.push(EntryDoc::of_message(plan.conversation, message, *folded));
        }
        for (of, updates) in &plan.updates {
            if !plan.messages.contains_key(of) {
                older.push(Target::new(plan.conversation, *of, updates));
            }
        }
    }
    // Behind the messages, whose places in both lists are the same.
    for plan in plans.iter().filter(|plan| !plan.deleted) {
        let updates = plan.updates.values().flatten();
        documents.extend(updates.map(|update| EntryDoc::of_update(plan.conversation, update)));
    }
    let (taken, found) = tokio::join!(mongo.insert(ENTRIES, &documents), fold::read(mongo, &older));
    let mut found = found?;
    // Of a message that was there already nobody knows how far it was folded.
    let again: Vec<_> = taken?
        .into_iter()
        .filter_map(|place| new.get(place))
        .filter(|target| !target.updates.is_empty())
        .copied()
        .collect();
    if !again.is_empty() {
        found.extend(fold::read(mongo, &again).await?);
    }
    older.extend(again);
    fold::all(mongo, older, found).await
}

/// Commits; answers the conversations that were as far already, or are deleted, and how far their projections came.
async fn commit(mongo: &Mongo, plans: &[Plan]) -> PortResult<HashMap<ConversationId, (u64, Timestamp)>> {
    let updates = plans.iter().map(commit_of).collect::<PortResult<Vec<_>>>()?;
    let updated = mongo.update(CONVERSATIONS, &updates).await?;
    mongo.meters().fenced.increment(updated.taken.len() as u64);
    let rejected = updated.taken.into_iter().filter_map(|place| plans.get(place));
    Ok(rejected
        .map(|plan| (plan.conversation, (plan.applied, plan.active_at)))
        .collect())
}

/// The one update that makes a plan real. It is refused as taken where the conversation is as far already, or deleted.
fn commit_of(plan: &Plan) -> PortResult<Update> {
    let filter = doc! {
        "_id": plan.conversation.id(),
        "applied": { "$lt": number(plan.applied) },
        "deleted": { "$ne": true },
    };
    let mut set = doc! { "applied": number(plan.applied), "active_at": date(plan.active_at) };
    let mut change = doc! { "$max": { "head": number(plan.head) } };
    if plan.deleted {
        // Nothing that a member wrote stays, and nobody is left to be settled.
        set.extend(doc! { "deleted": true, "profile": document(&ProfileDoc::from(&blank()))?, "changes": [] });
    } else {
        if let Some(profile) = &plan.profile {
            set.insert("profile", document(&ProfileDoc::from(profile))?);
        }
        if !plan.roster.is_empty() {
            let journal = document(&ChangeDoc::of(plan.applied, &plan.roster))?;
            change.insert("$push", doc! { "changes": journal });
        }
    }
    change.insert("$set", set);
    Ok(Update::upsert(filter, change))
}

fn blank() -> Profile {
    Profile::Group {
        name: String::new(),
        photo: None,
        description: None,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        last_change: None,
    }
}

/// A deleted group takes nothing but how far its log was read.
async fn advance_tombstones(
    mongo: &Mongo,
    stored: &[ConversationDoc],
    rejected: &HashMap<ConversationId, (u64, Timestamp)>,
) -> PortResult<()> {
    let tombstones = stored.iter().filter(|stored| stored.deleted);
    let updates: Vec<_> = tombstones
        .filter_map(|stored| {
            let (applied, active_at) = rejected.get(&ConversationId::from_id(stored.id))?;
            let applied = number(*applied);
            (stored.applied < applied).then(|| {
                let filter: Document = doc! { "_id": stored.id, "applied": { "$lt": applied } };
                Update::one(
                    filter,
                    doc! { "$set": { "applied": applied, "active_at": date(*active_at) } },
                )
            })
        })
        .collect();
    mongo.update(CONVERSATIONS, &updates).await.map(drop)
}
