//! Shards that move, and nodes that die or do not know yet that they own nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::ChatStore as _;
use rookery_actors::ports::log::EventLog as _;
use rookery_actors::protocol::{ServerFrame, Target};
use rookery_actors::system::NewGroup;
use rookery_cluster::id::{NodeId, ShardId};

use crate::support::{SHARDS, World, eventually, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_different_nodes_talk() {
    let world = World::of(&["a", "b", "c"]).await;
    let users = ["a", "b", "c"].map(|home| world.user_of(home));
    for (number, from) in users.iter().enumerate() {
        let sender = world.connect(["a", "b", "c"][number], *from, None).await;
        for (other, to) in users.iter().enumerate().filter(|(_, to)| *to != from) {
            let receiver = world.connect(["a", "b", "c"][other], *to, None).await;
            let conversation = ConversationId::direct(*from, *to);
            let first = sender.sent(Target::User(*to), &format!("{number}-{other}-1")).await;
            let last = sender.sent(Target::User(*to), &format!("{number}-{other}-2")).await;
            receiver.reaches(conversation, last).await;
            assert_eq!(last, first + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_go_on_while_their_conversations_move() {
    let mut world = World::of(&["a", "b"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("a"));
    world.start("c").await;
    let (ada, bob) = (world.connect("a", ada, None).await, world.connect("a", bob, None).await);
    let mut expected = 0;
    let tables = [&["a", "b", "c"][..], &["a", "c"], &["b", "c"], &["a", "b"]];
    for (number, owners) in tables.into_iter().enumerate() {
        for round in 0..20 {
            ada.send(Target::User(bob.user), &format!("{number}-{round}"));
        }
        world.place(owners).await;
        for round in 0..20 {
            ada.sent(Target::User(bob.user), &format!("{number}-{round}")).await;
        }
        expected += 20;
        assert_eq!(
            ada.sent(Target::User(bob.user), &format!("after {number}")).await,
            expected + 1
        );
        expected += 1;
    }
}

/// Of two nodes that both believe they own a conversation each sees the other's messages, in the one order of the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_make_one_history() {
    let mut world = World::of(&["a"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("a"));
    let at_a = [world.connect("a", ada, None).await, world.connect("a", bob, None).await];
    let conversation = ConversationId::direct(ada, bob);
    at_a[0].sent(Target::User(bob), "first").await;
    // Nobody tells a.
    world.start("b").await;
    world.place_at(&["b"], &["b"]).await;
    let at_b = [world.connect("b", ada, None).await, world.connect("b", bob, None).await];
    for round in 0..20 {
        at_a[0].send(Target::User(bob), &format!("a{round}"));
        at_b[1].send(Target::User(ada), &format!("b{round}"));
        // The same id on both sides makes one message.
        at_a[1].send(Target::User(ada), &format!("both{round}"));
        at_b[1].send(Target::User(ada), &format!("both{round}"));
    }
    let last = 1 + 60;
    for client in at_a.iter().chain(&at_b) {
        client.whole(conversation, last).await;
    }
    for round in 0..20 {
        let seqs = [
            at_a[0].sent(Target::User(bob), &format!("a{round}")).await,
            at_b[1].sent(Target::User(ada), &format!("b{round}")).await,
            at_a[1].sent(Target::User(ada), &format!("both{round}")).await,
        ];
        assert!(seqs.iter().all(|seq| *seq <= last), "{seqs:?}");
        assert_eq!(seqs[2], at_b[1].sent(Target::User(ada), &format!("both{round}")).await);
    }
}

/// An owner that was paused goes on by the table of before. What it stores before the owner of now reads of it is nothing new
/// to that one; those whose session moved meanwhile learn of it all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_of_before_stored_reaches_those_whose_session_moved() {
    let mut world = World::of(&["a"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("a"));
    let conversation = ConversationId::direct(ada, bob);
    let shard = ShardId::of(conversation.as_bytes(), SHARDS);
    let (ada, at_a) = (world.connect("a", ada, None).await, world.connect("a", bob, None).await);
    ada.sent(Target::User(bob), "first").await;
    at_a.reaches(conversation, 1).await;
    at_a.ack(conversation, 1);
    let chats = Arc::clone(&world.services.chats);
    // Nothing of it is left to do for who comes next, so that it has the conversation not in memory.
    eventually("the cursor is stored", async || {
        let inboxes = chats.inboxes(&[bob]).await.unwrap();
        inboxes[0].devices[0].cursors == [(conversation, 1)]
    })
    .await;
    eventually("the position is committed", async || {
        world.writers["a"].committed().await.unwrap()[usize::from(shard.0)] == 1
    })
    .await;
    // Nobody tells a.
    world.start("b").await;
    world.place_at(&["b"], &["b"]).await;
    let at_b = world.connect("b", bob, Some((at_a.device, at_a.login))).await;
    world.writers["b"].hold(true);
    assert_eq!(ada.sent(Target::User(bob), "second").await, 2);
    eventually("it is stored", async || {
        chats.heads(&[conversation]).await.unwrap() == [2]
    })
    .await;
    world.writers["b"].hold(false);
    at_b.reaches(conversation, 2).await;
}

/// A node may never hear of a table that took its users away for a moment: what they joined meanwhile was told to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_began_while_a_session_was_elsewhere_for_a_moment_reaches_it() {
    let mut world = World::of(&["a", "b"]).await;
    let bob = world.user_of("b");
    let owner = |conversation: ConversationId| world.nodes["a"].home(UserId(conversation.0));
    let ada = std::iter::repeat_with(|| world.user_of("a"))
        .find(|ada| owner(ConversationId::direct(*ada, bob)) == NodeId::from("a"))
        .unwrap();
    let conversation = ConversationId::direct(ada, bob);
    let (ada, at_b) = (world.connect("a", ada, None).await, world.connect("b", bob, None).await);
    world.place_at(&["a"], &["a"]).await;
    assert_eq!(ada.sent(Target::User(bob), "first").await, 1);
    world.place(&["a", "b"]).await;
    at_b.reaches(conversation, 1).await;
}

/// A socket that stays open while its session is handed from node to node, planned or not, gets everything once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_goes_on_wherever_its_session_goes() {
    let mut world = World::of(&["a", "b", "c"]).await;
    let (ada, bob) = (world.user_of("b"), world.user_of("c"));
    let (ada, bob) = (world.connect("a", ada, None).await, world.connect("a", bob, None).await);
    let conversation = ConversationId::direct(ada.user, bob.user);
    let mut expected = 0;
    for (number, owners) in [&["a", "c"][..], &["a", "b"], &["a"], &["a", "b", "c"]]
        .into_iter()
        .enumerate()
    {
        for round in 0..10 {
            ada.send(Target::User(bob.user), &format!("{number}-{round}"));
            bob.send(Target::User(ada.user), &format!("{number}-{round}"));
        }
        world.place(owners).await;
        for round in 0..10 {
            ada.sent(Target::User(bob.user), &format!("{number}-{round}")).await;
            bob.sent(Target::User(ada.user), &format!("{number}-{round}")).await;
        }
        expected += 20;
    }
    for client in [&ada, &bob] {
        client.whole(conversation, expected).await;
    }
    // And now without a word of farewell.
    for (number, dead) in ["b", "c"].into_iter().enumerate() {
        for round in 0..10 {
            ada.send(Target::User(bob.user), &format!("dead {number}-{round}"));
            bob.send(Target::User(ada.user), &format!("dead {number}-{round}"));
        }
        world.kill(dead);
        let left: Vec<_> = world.nodes.keys().copied().collect();
        world.place(&left).await;
        for round in 0..10 {
            ada.sent(Target::User(bob.user), &format!("dead {number}-{round}"))
                .await;
            bob.sent(Target::User(ada.user), &format!("dead {number}-{round}"))
                .await;
        }
        expected += 20;
    }
    for client in [&ada, &bob] {
        client.whole(conversation, expected).await;
        let hellos = client.socket.count(|frame| matches!(frame, ServerFrame::Hello(_)));
        assert_eq!(hellos, 1);
    }
}

/// It is in no hurry to leave while the store does not say what it is; another one takes its place meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_that_was_loading_when_its_shard_left_takes_nothing_from_its_successor() {
    let mut world = World::of(&["a"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("a"));
    let ada = world.connect("a", ada, None).await;
    assert_eq!(ada.sent(Target::User(bob), "1").await, 1);
    world.start("b").await;
    world.place(&["b"]).await;
    world.services.chats.hold(true);
    ada.send(Target::User(bob), "2");
    let b = &world.nodes["b"];
    until("the conversation is loading", || b.census().conversations > 0).await;
    // What leaves is given three seconds.
    world.place(&["a"]).await;
    world.place(&["b"]).await;
    ada.send(Target::User(bob), "3");
    let asked_again = tokio::time::sleep(Duration::from_millis(100));
    asked_again.await;
    world.services.chats.hold(false);
    for number in 4..40 {
        assert_eq!(ada.sent(Target::User(bob), &number.to_string()).await, number);
    }
}

/// A new owner has nothing in memory, and all members come back to it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_to_a_conversation_that_moved_shares_one_read_of_the_store() {
    let mut world = World::of(&["a", "b"]).await;
    world.place(&["a"]).await;
    let (ada, others) = (world.user_of("a"), [(); 12].map(|()| world.user_of("a")));
    let group = NewGroup {
        name: "a group".into(),
        photo: None,
        description: None,
        members: others.to_vec(),
    };
    let group = world.nodes["a"].create_group(ada, group).await.unwrap().id;
    let ada = world.connect("a", ada, None).await;
    for number in 0..30 {
        ada.sent(Target::Conversation(group), &number.to_string()).await;
    }
    world.place(&["b"]).await;
    let before = world.services.chats.ranges_read();
    let others = join_all(others.iter().map(|user| world.connect("b", *user, None))).await;
    for other in others {
        other.whole(group, 30).await;
    }
    assert_eq!(world.services.chats.ranges_read() - before, 1);
}
