use std::collections::HashMap;
use std::sync::Arc;

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{ChatStore, Content, Entry, Member, Projection, Sought, Step, StoredMessage};
use rookery_actors::protocol::view::Role;
use rookery_actors::time::Timestamp;
use rookery_cluster::id::ShardId;
use tempfile::TempDir;

use super::{SqliteChats, clients};
use crate::adapters::sqlite::{Db, schema};

fn open(dir: &TempDir) -> (SqliteChats, Db) {
    let db = schema::open(&dir.path().join("store.db")).unwrap();
    (SqliteChats::new(db.clone()), db)
}

fn message(seq: u64, from: UserId, id: &str) -> Step {
    Step::Entry(Arc::new(Entry::Message(StoredMessage {
        seq,
        id: id.into(),
        from,
        at: Timestamp(seq as i64),
        content: Content::default(),
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    })))
}

fn projection(conversation: ConversationId, applied: u64, head: u64, steps: Vec<Step>) -> Projection {
    Projection {
        conversation,
        shard: ShardId(0),
        applied,
        head,
        active_at: Timestamp(0),
        steps,
    }
}

async fn rows(db: &Db, table: &'static str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    db.read(move |sql| sql.query_row(&count, [], |row| row.get(0)))
        .await
        .unwrap()
}

#[tokio::test]
async fn ids_whose_hashes_agree_are_told_apart() {
    let dir = TempDir::new().unwrap();
    let (chats, _db) = open(&dir);
    let (from, conversation) = (UserId::fresh(), ConversationId::fresh());
    // Among so many ids some pair shares its 32 bits (the birthday bound is at 77,000).
    let mut seen = HashMap::new();
    let pair = (0..).find_map(|number: u32| {
        let id = number.to_string();
        let other = seen.insert(clients::hash(from, &id), id.clone());
        other.map(|other| [other, id])
    });
    let [one, other] = pair.unwrap();
    let first = projection(conversation, 1, 1, vec![message(1, from, &one)]);
    chats.project(vec![first]).await.unwrap();
    let sought = [one, other].map(|id| Sought { conversation, from, id });
    let first = Some((1, Timestamp(1)));
    assert_eq!(chats.find(&sought).await.unwrap(), [first, None]);
    let second = projection(conversation, 2, 2, vec![message(2, from, &sought[1].id)]);
    chats.project(vec![second]).await.unwrap();
    assert_eq!(chats.find(&sought).await.unwrap(), [first, Some((2, Timestamp(2)))]);
}

fn large_group(conversation: ConversationId) -> Projection {
    let user = UserId::fresh();
    let member = |_| Member {
        user: UserId::fresh(),
        role: Role::Member,
        joined_at: Timestamp(0),
        joined_seq: 0,
        admin_since: None,
    };
    let members: Vec<Member> = (0..3_000).map(member).collect();
    let left = members.iter().take(10).map(|member| member.user).collect();
    let mut steps = vec![Step::Joined(members), Step::Left(left)];
    steps.extend((1..=5_000).map(|seq| message(seq, user, &seq.to_string())));
    projection(conversation, 1, 5_000, steps)
}

const TABLES: [&str; 4] = ["entries", "client_ids", "memberships", "former_members"];

#[tokio::test]
async fn nothing_is_left_of_a_deleted_group() {
    let dir = TempDir::new().unwrap();
    let (chats, db) = open(&dir);
    let conversation = ConversationId::fresh();
    chats.project(vec![large_group(conversation)]).await.unwrap();
    for table in TABLES {
        assert!(rows(&db, table).await > 0, "{table}");
    }
    let deleted = projection(conversation, 2, 5_000, vec![Step::Deleted]);
    chats.project(vec![deleted]).await.unwrap();
    for table in TABLES {
        assert_eq!(rows(&db, table).await, 0, "{table}");
    }
    assert_eq!(rows(&db, "conversations WHERE deleted = 2").await, 1);
}

#[tokio::test]
async fn a_sweep_that_was_cut_short_is_finished_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let (chats, db) = open(&dir);
    let conversation = ConversationId::fresh();
    chats.project(vec![large_group(conversation)]).await.unwrap();
    // As a crash right after the deletion leaves it.
    let deleted = projection(conversation, 2, 5_000, vec![Step::Deleted]);
    db.write(move |sql| super::project::all(sql, &[deleted])).await.unwrap();
    drop((chats, db));

    let (chats, db) = open(&dir);
    assert!(chats.entries(conversation, 1, 10, 10).await.unwrap().is_empty());
    chats.project(vec![]).await.unwrap();
    for table in TABLES {
        assert_eq!(rows(&db, table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn a_seq_beyond_the_keys_is_refused_and_nothing_of_the_batch_is_kept() {
    let dir = TempDir::new().unwrap();
    let (chats, db) = open(&dir);
    let (user, conversation) = (UserId::fresh(), ConversationId::fresh());
    let steps = vec![message(1, user, "a"), message(super::keys::MAX_SEQ + 1, user, "b")];
    assert!(
        chats
            .project(vec![projection(conversation, 2, 2, steps)])
            .await
            .is_err()
    );
    assert_eq!(rows(&db, "entries").await, 0);
    assert_eq!(chats.conversation(conversation).await.unwrap(), None);
}
