//! How many round trips things take: these decide what a database costs, whichever it is and however fast.

use std::sync::Arc;
use std::time::Instant;

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{ChatStore, Content, Entry, Member, Profile, Projection, Step, StoredMessage};
use rookery_actors::protocol::view::Role;
use rookery_actors::time::Timestamp;
use rookery_cluster::id::ShardId;
use rookery_node::adapters::mongo::{Mongo, MongoChats};

use super::{open, support};

fn group(conversation: ConversationId, users: &[UserId]) -> Projection {
    let member = |user: &UserId| Member {
        user: *user,
        role: Role::Member,
        joined_at: Timestamp(1),
        joined_seq: 0,
        admin_since: None,
    };
    let profile = Profile::Group {
        name: "measured".into(),
        photo: None,
        description: None,
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
        last_change: None,
    };
    let members = users.iter().map(member).collect();
    projection(conversation, 1, 0, vec![Step::Profile(profile), Step::Joined(members)])
}

fn projection(conversation: ConversationId, applied: u64, head: u64, steps: Vec<Step>) -> Projection {
    Projection {
        conversation,
        shard: ShardId(0),
        applied,
        head,
        active_at: Timestamp(1),
        steps,
    }
}

fn message(seq: u64, from: UserId) -> Step {
    Step::Entry(Arc::new(Entry::Message(StoredMessage {
        seq,
        id: uuid::Uuid::now_v7().to_string(),
        from,
        at: Timestamp(1),
        content: Content {
            body: "x".repeat(200),
            ..Content::default()
        },
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    })))
}

/// Runs something a few times; says how many commands it took each time, and prints the time of the quickest.
async fn measured(mongo: &Mongo, what: &str, mut act: impl AsyncFnMut()) -> u64 {
    let mut best = std::time::Duration::MAX;
    let mut commands = 0;
    for _ in 0..5 {
        let (before, started) = (mongo.commands(), Instant::now());
        act().await;
        best = best.min(started.elapsed());
        commands = mongo.commands() - before;
    }
    eprintln!("{what}: {commands} round trips, {} us", best.as_micros());
    commands
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_messages_takes_two_round_trips_and_a_read_of_inboxes_three() {
    let mongo = open(&support::fresh("measure")).await;
    let store = MongoChats::new(mongo.clone());
    let users: Vec<_> = (0..100).map(|_| UserId::fresh()).collect();
    let conversations: Vec<_> = (0..20).map(|_| ConversationId::fresh()).collect();
    let groups = conversations
        .iter()
        .enumerate()
        .map(|(nth, id)| group(*id, &users[nth * 5..][..5]));
    store.project(groups.collect()).await.expect("project");
    let (mut applied, mut heads) = (1, vec![0; conversations.len()]);
    for batch in [1, 10, 100] {
        let what = format!(
            "project {batch} messages of {} conversations",
            batch.min(conversations.len())
        );
        let commands = measured(&mongo, &what, async || {
            applied += 1;
            let each = batch.div_ceil(conversations.len()) as u64;
            let touched = conversations.iter().zip(&mut heads).zip(&users).take(batch);
            let projections = touched.map(|((id, head), from)| {
                let steps = (1..=each).map(|nth| message(*head + nth, *from)).collect();
                *head += each;
                projection(*id, applied, *head, steps)
            });
            store.project(projections.collect()).await.expect("project");
        });
        assert_eq!(commands.await, 2, "{what}");
    }
    for count in [1, 100] {
        let what = format!("read the inboxes of {count} users");
        let commands = measured(&mongo, &what, async || {
            store.inboxes(&users[..count]).await.expect("inboxes");
        });
        assert_eq!(commands.await, 3, "{what}");
    }
}
