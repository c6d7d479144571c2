//! A node that was paused, or cut off from the log, writes what its clients have long since asked of another.

use bytes::Bytes;
use rookery_actors::conversation::command::{Command, Record, Writer};
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{ChatStore as _, Content, DEDUPE_WINDOW, Sought};
use rookery_actors::ports::log::EventLog as _;
use rookery_actors::protocol::{ErrorCode, Limits, ServerFrame, Target};
use rookery_actors::system::NewGroup;
use rookery_actors::time::Timestamp;
use rookery_cluster::id::ShardId;

use crate::support::{SHARDS, World, until};

/// A first send between two, as their conversation's owner writes it.
fn first_send(from: UserId, to: UserId, id: &str) -> Bytes {
    let record = Record {
        conversation: ConversationId::direct(from, to),
        at: Timestamp(0),
        checked: Some(0),
        writer: None,
        command: Command::Send {
            from,
            id: id.into(),
            content: Content {
                body: id.into(),
                ..Content::default()
            },
            peer: Some(to),
        },
    };
    record.encode()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_comes_to_the_log_a_thousand_messages_late_makes_no_second_message() {
    let world = World::of(&["a", "b"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("b"));
    let conversation = ConversationId::direct(ada, bob);
    let (client, to) = (world.connect("a", ada, None).await, Target::User(bob));
    // Sent again, because the node that was asked first was paused before it wrote it.
    assert_eq!(client.sent(to, "once").await, 1);
    let said = DEDUPE_WINDOW as u64 + 1;
    for seq in 2..=said {
        assert_eq!(client.sent(to, &seq.to_string()).await, seq);
    }
    let shard = ShardId::of(conversation.as_bytes(), SHARDS);
    let paused = world.services.log.writer();
    paused.append(shard, first_send(ada, bob, "once"), 0);
    assert_eq!(client.sent(to, "after").await, said + 1, "the late one has no seq");
    let sought = Sought {
        conversation,
        from: ada,
        id: "once".into(),
    };
    let found = world.services.chats.find(&[sought]).await.unwrap();
    assert_eq!(found[0].map(|(seq, _)| seq), Some(1));
}

/// Refused at first, it comes behind more sends than a client may have left unanswered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_waits_behind_a_backlog_is_known_again() {
    let world = World::of(&["a"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("a"));
    let (before, to) = (world.connect("a", ada, None).await, Target::User(bob));
    for seq in 1..=DEDUPE_WINDOW as u64 + 1 {
        assert_eq!(before.sent(to, &format!("of before {seq}")).await, seq);
    }
    let client = world.connect("a", ada, None).await;
    let most = Limits::default().unanswered_sends;
    world.writers["a"].hold(true);
    (0..most).for_each(|number| client.send(to, &number.to_string()));
    client.send(to, "of before 1");
    let is_refused = |frame: &ServerFrame| {
        matches!(
            frame,
            ServerFrame::Error {
                code: ErrorCode::RateLimited,
                ..
            }
        )
    };
    until("one too many is refused", || client.socket.count(is_refused) == 1).await;
    world.writers["a"].hold(false);
    let is_sent = |frame: &ServerFrame| matches!(frame, ServerFrame::Sent { .. });
    until("the others are sent", || client.socket.count(is_sent) == most as usize).await;
    client.send(to, "of before 1");
    let is_first = |frame: &ServerFrame| matches!(frame, ServerFrame::Sent { id, seq: 1, duplicate: true, .. } if id == "of before 1");
    until("it is answered as the first was", || client.socket.count(is_first) == 1).await;
}

/// One who was removed by its new owner would be a member again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_group_that_comes_to_the_log_late_is_not_made() {
    let world = World::of(&["a", "b"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("b"));
    let group = NewGroup {
        name: "late".into(),
        photo: None,
        description: None,
        members: vec![bob],
    };
    let system = &world.nodes["a"];
    let group = system.create_group(ada, group).await.unwrap().id;
    system.remove_member(ada, group, bob).await.unwrap();
    let shard = ShardId::of(group.as_bytes(), SHARDS);
    let paused = world.services.log.writer();
    let late = Record {
        conversation: group,
        at: Timestamp(0),
        checked: Some(0),
        writer: Some(Writer { process: 1, seen: 1 }),
        command: Command::Add {
            by: ada,
            users: vec![bob],
        },
    };
    paused.append(shard, late.encode(), 0);
    // It stands behind the late one, and the store has what both do.
    let carol = world.user_of("a");
    system.add_members(ada, group, vec![carol]).await.unwrap();
    let stored = world.services.chats.conversation(group).await.unwrap().unwrap();
    let mut members: Vec<_> = stored.members.iter().map(|member| member.user).collect();
    members.sort_unstable();
    let mut expected = [ada, carol];
    expected.sort_unstable();
    assert_eq!(members, expected);
}

/// Who is refused knows that nothing was sent, and sends again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_sends_are_under_way_in_a_conversation_than_its_window_holds() {
    let world = World::of(&["a"]).await;
    let each = Limits::default().unanswered_sends as usize;
    let users: Vec<_> = (0..=DEDUPE_WINDOW / each).map(|_| world.user_of("a")).collect();
    let group = NewGroup {
        name: "all at once".into(),
        photo: None,
        description: None,
        members: users.clone(),
    };
    let to = Target::Conversation(world.nodes["a"].create_group(users[0], group).await.unwrap().id);
    world.writers["a"].hold(true);
    let mut clients = Vec::new();
    for user in users {
        let client = world.connect("a", user, None).await;
        (0..each).for_each(|number| client.send(to, &number.to_string()));
        clients.push(client);
    }
    let is_refused = |frame: &ServerFrame| {
        matches!(
            frame,
            ServerFrame::Error {
                code: ErrorCode::Unavailable,
                ..
            }
        )
    };
    let refused = || {
        clients
            .iter()
            .map(|client| client.socket.count(is_refused))
            .sum::<usize>()
    };
    until("the last are refused", || refused() == each).await;
    world.writers["a"].hold(false);
    let is_sent = |frame: &ServerFrame| matches!(frame, ServerFrame::Sent { .. });
    let sent = || clients.iter().map(|client| client.socket.count(is_sent)).sum::<usize>();
    until("the others are sent", || sent() == DEDUPE_WINDOW).await;
    assert_eq!(clients[0].sent(to, "after").await, DEDUPE_WINDOW as u64 + 1);
}
