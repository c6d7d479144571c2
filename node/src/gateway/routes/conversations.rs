//! Routes under `/api/conversations`: a user's inbox.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::Method;
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::protocol::Problem;
use rookery_actors::protocol::view::{Conversation, Page, User};
use rookery_actors::system::InboxRow;
use rookery_actors::time::Timestamp;
use serde::Deserialize;

use super::files::photo_url;
use super::groups::{by_user, given, page};
use crate::app::App;
use crate::gateway::http::{Call, Failure, Reply};
use crate::gateway::router::Router;

const BODY_BYTES: usize = 4 * 1024;
/// Conversations on a page, unless the client says otherwise.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 500;
/// What the conversation with somebody who is gone is called.
const DELETED_USER: &str = "Deleted user";

pub fn register(router: &mut Router) {
    router
        .route(Method::GET, "/api/conversations", inbox)
        .route(Method::POST, "/api/conversations", open)
        .route(Method::PATCH, "/api/conversations/{id}", patch)
        .route(Method::POST, "/api/conversations/{id}/read", read)
        .route(Method::GET, "/api/conversations/{id}/receipts", receipts);
}

#[derive(Deserialize)]
struct Open {
    user: UserId,
}

#[derive(Deserialize)]
struct Patch {
    #[serde(default, deserialize_with = "given")]
    muted_until: Option<Option<Timestamp>>,
    #[serde(default)]
    pinned: Option<bool>,
}

#[derive(Deserialize)]
struct Read {
    seq: u64,
}

async fn inbox(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let wanted = call.page(PAGE, LARGEST_PAGE)?;
    let rows = app
        .system
        .inbox(caller.user, wanted.cursor.as_deref(), wanted.limit)
        .await?;
    let items = with_people(&app, rows.items).await?;
    Ok(Reply::ok(&Page { items, next: rows.next }))
}

async fn open(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let body: Open = call.json(BODY_BYTES).await?;
    if body.user == caller.user {
        return Err(Problem::field("user", "must be somebody else").into());
    }
    let conversation = app.system.open_direct(caller.user, body.user).await?;
    row(&app, caller.user, conversation).await
}

async fn patch(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let id = call.id("id")?;
    let body: Patch = call.json(BODY_BYTES).await?;
    app.system
        .set_preferences(caller.user, id, body.muted_until, body.pinned)
        .await?;
    row(&app, caller.user, id).await
}

async fn read(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let id = call.id("id")?;
    let body: Read = call.json(BODY_BYTES).await?;
    app.system.read(caller.user, id, body.seq).await?;
    Ok(Reply::none())
}

async fn receipts(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let id = call.id("id")?;
    let (after, limit) = by_user(&call)?;
    let receipts = app.system.receipts(caller.user, id, after, limit + 1).await?;
    let (items, next) = page(receipts, limit, |receipt| receipt.user);
    Ok(Reply::ok(&Page { items, next }))
}

async fn row(app: &App, user: UserId, conversation: ConversationId) -> Result<Reply, Failure> {
    let row = app.system.inbox_row(user, conversation).await?;
    let rows = with_people(app, vec![row]).await?;
    let row = rows.first().ok_or_else(|| Problem::not_found("conversation"))?;
    Ok(Reply::ok(row))
}

async fn with_people(app: &App, rows: Vec<InboxRow>) -> Result<Vec<Conversation>, Problem> {
    let peers: Vec<UserId> = rows.iter().filter_map(|row| row.peer).collect();
    let people = app.accounts.users(&peers).await?;
    let now = Timestamp::now();
    Ok(rows.into_iter().map(|row| view(row, &people, now)).collect())
}

/// A row of the inbox as clients see it: a group goes by its own name and photo, a direct conversation by its peer's.
fn view(row: InboxRow, people: &HashMap<UserId, User>, now: Timestamp) -> Conversation {
    let peer = row.peer.and_then(|peer| people.get(&peer)).cloned();
    let peer_name = peer.as_ref().map(|peer| peer.name.clone());
    let peer_photo = peer.as_ref().and_then(|peer| peer.photo_url.clone());
    Conversation {
        id: row.id,
        kind: row.kind,
        title: row.group_name.or(peer_name).unwrap_or_else(|| DELETED_USER.into()),
        photo_url: row.photo.map(photo_url).or(peer_photo),
        peer,
        head: row.head,
        read: row.read,
        delivered: row.delivered,
        unread: row.unread,
        muted: row.muted_until.is_some_and(|until| until > now),
        muted_until: row.muted_until,
        pinned: row.pinned,
        last_message: row.last_message,
    }
}

#[cfg(test)]
mod tests {
    use rookery_actors::id::FileId;
    use rookery_actors::protocol::view::Kind;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn row(kind: Kind) -> InboxRow {
        InboxRow {
            id: ConversationId::fresh(),
            kind,
            group_name: None,
            photo: None,
            peer: None,
            head: 3,
            read: 1,
            delivered: 2,
            unread: 2,
            muted_until: None,
            pinned: true,
            last_message: None,
        }
    }

    fn person(id: UserId) -> User {
        User {
            id,
            username: "ada".into(),
            name: "Ada".into(),
            photo_url: Some("/photo".into()),
            status_message: None,
            last_seen_at: None,
            created_at: NOW,
            updated_at: NOW,
        }
    }

    #[test]
    fn a_direct_conversation_goes_by_its_peer() {
        let ada = UserId::fresh();
        let people = HashMap::from([(ada, person(ada))]);
        let direct = InboxRow {
            peer: Some(ada),
            ..row(Kind::Direct)
        };
        let seen = view(direct.clone(), &people, NOW);
        assert_eq!(
            (seen.title.as_str(), seen.photo_url.as_deref()),
            ("Ada", Some("/photo"))
        );
        assert_eq!(seen.peer, Some(person(ada)));
        assert_eq!(
            (seen.head, seen.read, seen.delivered, seen.unread, seen.pinned),
            (3, 1, 2, 2, true)
        );
        let gone = view(direct, &HashMap::new(), NOW);
        assert_eq!(
            (gone.title.as_str(), gone.photo_url, gone.peer),
            (DELETED_USER, None, None)
        );
    }

    #[test]
    fn a_group_goes_by_its_own_name_and_photo() {
        let photo = FileId::fresh();
        let group = InboxRow {
            group_name: Some("Engines".into()),
            photo: Some(photo),
            ..row(Kind::Group)
        };
        let seen = view(group, &HashMap::new(), NOW);
        assert_eq!(
            (seen.title.as_str(), seen.photo_url, seen.peer),
            ("Engines", Some(photo_url(photo)), None)
        );
    }

    #[test]
    fn muting_ends_by_itself() {
        for (until, muted) in [
            (None, false),
            (Some(999), false),
            (Some(1_000), false),
            (Some(1_001), true),
        ] {
            let row = InboxRow {
                muted_until: until.map(Timestamp),
                ..row(Kind::Group)
            };
            assert_eq!(view(row, &HashMap::new(), NOW).muted, muted, "{until:?}");
        }
    }

    #[test]
    fn a_patch_tells_null_from_absent() {
        let patch: Patch = serde_json::from_str(r#"{"muted_until":null}"#).expect("a patch");
        assert_eq!((patch.muted_until, patch.pinned), (Some(None), None));
        let patch: Patch = serde_json::from_str(r#"{"muted_until":"2026-11-21T09:30:00.123Z"}"#).expect("a patch");
        assert_eq!(patch.muted_until, Some(Some(Timestamp(1_795_253_400_123))));
    }
}
