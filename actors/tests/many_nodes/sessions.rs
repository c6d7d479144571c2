//! Sockets whose sessions are on other nodes: to their clients it makes no difference.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rookery_actors::id::ConversationId;
use rookery_actors::protocol::{ClientFrame, CloseCode, ServerFrame, Target};

use crate::support::{World, table, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_comes_back_elsewhere_gets_what_lies_beyond_its_cursor() {
    let world = World::of(&["a", "b", "c"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("b"));
    let ada = world.connect("c", ada, None).await;
    let first = world.connect("a", bob, None).await;
    let conversation = ConversationId::direct(ada.user, bob);
    for number in 0..5 {
        ada.sent(Target::User(bob), &number.to_string()).await;
    }
    first.whole(conversation, 5).await;
    first.ack(conversation, 3);
    first.link.detach();
    ada.sent(Target::User(bob), "missed").await;
    for node in ["c", "b", "a"] {
        let again = world.connect(node, bob, Some((first.device, first.login))).await;
        assert_eq!(again.device, first.device);
        again.reaches(conversation, 6).await;
        let seqs = again.socket.seqs(conversation);
        let floor = seqs[0];
        assert!(floor == 4 || floor == 1, "{seqs:?}");
        assert!(seqs.into_iter().eq(floor..=6));
        again.link.detach();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_socket_of_another_node_is_left_alone_and_catches_up() {
    let world = World::of(&["a", "b"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("b"));
    let ada = world.connect("a", ada, None).await;
    let bob = world.connect("a", bob, None).await;
    let conversation = ConversationId::direct(ada.user, bob.user);
    ada.sent(Target::User(bob.user), "first").await;
    bob.reaches(conversation, 1).await;
    bob.socket.full.store(true, Ordering::Release);
    for number in 0..400 {
        ada.sent(Target::User(bob.user), &format!("{number:0600}")[560..]).await;
    }
    assert_eq!(bob.socket.seqs(conversation), [1]);
    bob.socket.full.store(false, Ordering::Release);
    until("the socket was refused something", || {
        bob.socket.refused.load(Ordering::Acquire)
    })
    .await;
    bob.link.drained();
    bob.whole(conversation, 401).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_receipts_and_presence_reach_whoever_is_elsewhere() {
    let world = World::of(&["a", "b", "c"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("b"));
    let ada = world.connect("b", ada, None).await;
    let bobs = world.connect("c", bob, None).await;
    let conversation = ConversationId::direct(ada.user, bob);
    ada.sent(Target::User(bob), "hello").await;
    bobs.reaches(conversation, 1).await;
    bobs.say(ClientFrame::Typing { conversation }, None);
    let typing = |frame: &ServerFrame| matches!(frame, ServerFrame::Typing { user, .. } if *user == bob);
    ada.socket.wait("typing", |got| got.iter().any(typing)).await;
    bobs.say(ClientFrame::Read { conversation, seq: 1 }, None);
    let receipt = |frame: &ServerFrame| matches!(frame, ServerFrame::Receipt { user, read: 1, .. } if *user == bob);
    ada.socket.wait("a receipt", |got| got.iter().any(receipt)).await;
    ada.say(ClientFrame::Watch { users: vec![bob] }, Some("watch"));
    let presence = |wanted: bool| move |frame: &ServerFrame| matches!(frame, ServerFrame::Presence { user, online, .. } if *user == bob && *online == wanted);
    ada.socket
        .wait("that he is online", |got| got.iter().any(presence(true)))
        .await;
    bobs.link.detach();
    ada.socket
        .wait("that he is not", |got| got.iter().any(presence(false)))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_login_is_closed_whichever_node_has_the_socket() {
    let world = World::of(&["a", "b", "c"]).await;
    let bob = world.user_of("b");
    let phone = world.connect("a", bob, None).await;
    let laptop = world.connect("c", bob, None).await;
    world.nodes["c"].close_logins(bob, Some(phone.login), None, CloseCode::LoggedOut);
    until("the phone is closed", || {
        *phone.socket.closed.lock() == Some(CloseCode::LoggedOut)
    })
    .await;
    assert_eq!(*laptop.socket.closed.lock(), None);
    world.nodes["a"].forget_device(bob, laptop.device, CloseCode::Replaced);
    until("the laptop is closed", || {
        *laptop.socket.closed.lock() == Some(CloseCode::Replaced)
    })
    .await;
}

/// What a full link does not take is noticed, by the next message or without one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_are_often_full_lose_nothing() {
    let world = World::linked(&["a", "b", "c"], 2).await;
    let users = ["a", "b", "c", "a", "b", "c"].map(|home| world.user_of(home));
    let mut clients = Vec::new();
    for (index, user) in users.iter().enumerate() {
        clients.push(world.connect(["b", "c", "a"][index % 3], *user, None).await);
    }
    for number in 0..30 {
        for (index, client) in clients.iter().enumerate() {
            client.send(Target::User(users[(index + 1) % 6]), &format!("{index}-{number}"));
        }
    }
    for (index, client) in clients.iter().enumerate() {
        let peer = &clients[(index + 1) % 6];
        let conversation = ConversationId::direct(client.user, peer.user);
        for number in 0..30 {
            client
                .sent_at_last(Target::User(peer.user), &format!("{index}-{number}"))
                .await;
        }
        client.whole(conversation, 30).await;
        peer.whole(conversation, 30).await;
    }
}

/// Whoever comes while the table still names a node that is lost is attached once it does not, however lately the lost one was
/// asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_lost_node_is_attached_when_another_serves() {
    let mut world = World::of(&["a", "b", "c"]).await;
    let ada = world.user_of("b");
    world.kill("b");
    let _deaf = world.swallow("b");
    let left = ["a", "c"].map(|name| world.nodes[name].clone());
    let taken_over = async {
        // In which the lost one is asked.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for node in left {
            node.place(table(3, &["c"])).await;
        }
        Instant::now()
    };
    let (_ada, taken_over) = tokio::join!(world.connect("a", ada, None), taken_over);
    let waited = taken_over.elapsed();
    assert!(
        waited < Duration::from_secs(2),
        "{waited:?} after its shards had been taken over"
    );
}
