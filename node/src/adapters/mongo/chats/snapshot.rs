//! What a conversation's actor starts from: its document, its members and its latest entries as of one and the same commit.
//!
//! They stand in several documents, and another node may commit while they are read. So the conversation's document is read
//! before and after: when `applied` is the same, nothing was committed in between, and what is not committed shows nowhere.
//! The first reading asks the majority (`find_newest`): a snapshot that is older than what the log was told is stored would
//! leave a hole.

use mongodb::bson::{Document, doc};
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{Member, OVERVIEW_ENTRIES, Overview, Profile, Snapshot};
use rookery_actors::ports::{PortError, PortResult};

use super::super::Mongo;
use super::super::code::{AsId as _, timestamp};
use super::super::query::Query;
use super::conversation::{ConversationDoc, MemberDoc};
use super::{CONVERSATIONS, MEMBERSHIPS, clients, history, inbox, keys, settle};

/// Readings that a commit may spoil before it is said so: commits of a conversation are tens of milliseconds apart.
const READINGS: usize = 20;

/// Loads a conversation; its tombstone when it was deleted. What its last commit left undone is done first.
pub async fn load(mongo: &Mongo, conversation: ConversationId) -> PortResult<Option<Snapshot>> {
    for _ in 0..READINGS {
        let found = mongo
            .find_newest(CONVERSATIONS, doc! { "_id": conversation.id() })
            .await?;
        let Some(stored): Option<ConversationDoc> = found else {
            return Ok(None);
        };
        if !stored.deleted && !stored.changes.is_empty() {
            settle::all(mongo, vec![stored]).await?;
            continue;
        }
        let Some(loaded) = whole(mongo, conversation, stored).await? else {
            continue;
        };
        return Ok(loaded);
    }
    let said = format!("MongoDB: conversation {conversation} changes faster than it can be read");
    Err(PortError::Unavailable(said))
}

/// A conversation in a line, for a member who has read so far. While changes of members are not carried out, nobody can tell
/// who is one.
pub async fn overview(
    mongo: &Mongo,
    conversation: ConversationId,
    user: UserId,
    read: u64,
) -> PortResult<Option<Overview>> {
    let found: Option<ConversationDoc> = mongo
        .find_one(CONVERSATIONS, doc! { "_id": conversation.id() }, Document::new())
        .await?;
    let Some(stored) = found.filter(|stored| !stored.deleted && stored.changes.is_empty()) else {
        return Ok(None);
    };
    let Some(profile) = stored.profile else {
        return Ok(None);
    };
    let head = stored.head as u64;
    if head.saturating_sub(read) > OVERVIEW_ENTRIES {
        return Ok(None);
    }
    let (is_member, unread, latest) = tokio::try_join!(
        inbox::is_member(mongo, conversation, user),
        history::unread_of(mongo, conversation, user, (read, head), u32::MAX),
        history::latest(mongo, conversation, head)
    )?;
    Ok(is_member.then(|| Overview {
        profile: Profile::from(profile),
        head,
        unread,
        latest,
    }))
}

/// The rest of a conversation; nothing when it was committed to meanwhile.
async fn whole(
    mongo: &Mongo,
    conversation: ConversationId,
    stored: ConversationDoc,
) -> PortResult<Option<Option<Snapshot>>> {
    // Only refused commands so far: there is nothing to start from.
    let Some(profile) = stored.profile else {
        return Ok(Some(None));
    };
    let mut snapshot = Snapshot {
        profile: Profile::from(profile),
        head: stored.head as u64,
        applied: stored.applied as u64,
        active_at: timestamp(stored.active_at),
        members: Vec::new(),
        recent: Vec::new(),
        changes: Vec::new(),
        deleted: stored.deleted,
    };
    if !stored.deleted {
        (snapshot.members, (snapshot.recent, snapshot.changes)) = tokio::try_join!(
            members(mongo, conversation),
            clients::latest(mongo, conversation, snapshot.head)
        )?;
        let fields = doc! { "applied": 1 };
        let now = mongo
            .find_one(CONVERSATIONS, doc! { "_id": conversation.id() }, fields)
            .await?;
        if now.is_none_or(|now: ConversationDoc| now.applied != stored.applied) {
            return Ok(None);
        }
    }
    Ok(Some(Some(snapshot)))
}

/// All members, by user id.
async fn members(mongo: &Mongo, conversation: ConversationId) -> PortResult<Vec<Member>> {
    let mut filter = keys::memberships(conversation, None);
    filter.insert("user", doc! { "$exists": true });
    let fields = doc! { "user": 1, "role": 1, "joined_at": 1, "joined_seq": 1, "admin_since": 1 };
    let query = Query::of(filter).fields(fields).sort(doc! { "_id": 1 });
    let found: Vec<MemberDoc> = mongo.find(MEMBERSHIPS, query).await?;
    found.iter().map(Member::try_from).collect()
}
