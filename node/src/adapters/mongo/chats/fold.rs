//! Folding updates into messages that are stored, by several projectors at once if need be.
//!
//! A message remembers the seq of the last update folded into it. Updates up to that one are passed over; the rewritten
//! message replaces the stored one only if that seq is still what was read. So each update is folded once and in order,
//! whoever comes first, however often the log is replayed. Nothing is left out either: whoever folds an update has every
//! update of the message that came before, in the batch or committed earlier.
//!
//! The text that a deletion takes out of earlier edits is taken out again whenever an edit or a deletion of a deleted message
//! is projected, so that a crash in between leaves none.

use std::collections::HashMap;

use mongodb::bson::{Binary, doc};
use rookery_actors::id::ConversationId;
use rookery_actors::ports::chats::StoredUpdate;
use rookery_actors::ports::{PortError, PortResult};

use super::super::Mongo;
use super::super::bulk::Update;
use super::super::query::Query;
use super::conversation::document;
use super::entry::{EntryDoc, kind};
use super::plan::{fold_new, leaves_text};
use super::{ENTRIES, keys};

/// Rounds after which something other than a race must be wrong: each is lost only to a projector that got further.
const ROUNDS: usize = 64;

/// A message and the updates to be folded into it.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    conversation: ConversationId,
    of: u64,
    pub updates: &'a [StoredUpdate],
}

impl<'a> Target<'a> {
    pub fn new(conversation: ConversationId, of: u64, updates: &'a [StoredUpdate]) -> Self {
        Self {
            conversation,
            of,
            updates,
        }
    }

    fn key(&self) -> Binary {
        keys::entry(self.conversation, self.of)
    }
}

/// The stored messages of targets, by the bytes of their keys; what is no message is left out.
pub async fn read(mongo: &Mongo, targets: &[Target<'_>]) -> PortResult<HashMap<Vec<u8>, EntryDoc>> {
    if targets.is_empty() {
        return Ok(HashMap::new());
    }
    let keys: Vec<_> = targets.iter().map(Target::key).collect();
    let found: Vec<EntryDoc> = mongo.find(ENTRIES, Query::of(doc! { "_id": { "$in": keys } })).await?;
    let messages = found.into_iter().filter(|found| found.kind == kind::MESSAGE);
    Ok(messages.map(|found| (found.key.bytes.clone(), found)).collect())
}

/// Folds, given what was read of the targets' messages.
pub async fn all(mongo: &Mongo, targets: Vec<Target<'_>>, mut found: HashMap<Vec<u8>, EntryDoc>) -> PortResult<()> {
    let mut open = targets;
    let mut scrubs = Vec::new();
    for _ in 0..ROUNDS {
        let mut updates = Vec::new();
        let mut under_way = Vec::new();
        scrubs.clear();
        for target in &open {
            let Some(stored) = found.remove(&target.key().bytes) else {
                continue;
            };
            let folded = Folded::of(target, stored)?;
            if folded.scrub {
                scrubs.push(Update::many(
                    doc! { "edits": target.key() },
                    doc! { "$unset": { "body": "", "edits": "" } },
                ));
            }
            updates.extend(folded.rewrite);
            under_way.push(*target);
        }
        if updates.is_empty() {
            return mongo.update(ENTRIES, &scrubs).await.map(drop);
        }
        let updated = mongo.update(ENTRIES, &updates).await?;
        if updated.matched == updates.len() as u64 {
            return mongo.update(ENTRIES, &scrubs).await.map(drop);
        }
        mongo
            .meters()
            .conflicts
            .increment(updates.len() as u64 - updated.matched);
        found = read(mongo, &under_way).await?;
        open = under_way;
    }
    let said = "MongoDB: messages changed again and again while updates were folded into them";
    Err(PortError::Unavailable(said.into()))
}

/// What has to be written of one message.
struct Folded {
    rewrite: Option<Update>,
    scrub: bool,
}

impl Folded {
    fn of(target: &Target<'_>, stored: EntryDoc) -> PortResult<Self> {
        let before = stored.message.as_ref().map_or(0, |message| message.folded);
        let Some(mut message) = stored.into_message() else {
            return Ok(Self {
                rewrite: None,
                scrub: false,
            });
        };
        let rewrite = match fold_new(&mut message, before as u64, target.updates) {
            Some(seq) => Some(Update::one(
                doc! { "_id": target.key(), "message.folded": before },
                document(&EntryDoc::of_message(target.conversation, &message, seq))?,
            )),
            None => None,
        };
        Ok(Self {
            rewrite,
            scrub: message.deleted && leaves_text(target.updates),
        })
    }
}
