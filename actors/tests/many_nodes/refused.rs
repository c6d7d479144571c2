//! A store that refuses what one conversation has: that one waits, and no other. And one that is away: nobody is told that
//! something does not exist because it could not be looked for.

use rookery_actors::id::ConversationId;
use rookery_actors::ports::chats::ChatStore as _;
use rookery_actors::protocol::{ClientFrame, ErrorCode, ServerFrame, Target};

use crate::support::{Client, World};

/// Sends until the conversation takes no more; answers how many it took.
async fn send_until_refused(client: &Client, to: Target) -> u64 {
    for number in 0.. {
        let name = format!("more {number}");
        client.send(to, &name);
        let of_it = |frame: &ServerFrame| match frame {
            ServerFrame::Sent { id, .. } if *id == name => Some(None),
            ServerFrame::Error { id: Some(id), code, .. } if *id == name => Some(Some(*code)),
            _ => None,
        };
        client
            .socket
            .wait("an answer", |got| got.iter().any(|frame| of_it(frame).is_some()))
            .await;
        let refusal = client.socket.got.lock().iter().find_map(of_it).flatten();
        match refusal {
            None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            Some(code) => {
                assert_eq!(code, ErrorCode::Unavailable);
                return number;
            }
        }
    }
    unreachable!("it takes every number")
}

/// Waits until the store has a conversation up to that seq.
async fn stored(world: &World, conversation: ConversationId, head: u64) {
    let chats = &world.services.chats;
    let started = std::time::Instant::now();
    loop {
        let known = chats.conversation(conversation).await.expect("the store answers");
        if known.is_some_and(|known| known.head == head) {
            return;
        }
        assert!(started.elapsed().as_secs() < 30, "the store has not got seq {head}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_refuses_of_one_conversation_holds_up_no_other_and_is_not_lost() {
    let mut world = World::of(&["a", "b"]).await;
    let [ada, bob, eve] = [world.user_of("a"), world.user_of("a"), world.user_of("a")];
    let ada = world.connect("a", ada, None).await;
    let (bad, good) = (
        ConversationId::direct(ada.user, bob),
        ConversationId::direct(ada.user, eve),
    );
    ada.sent(Target::User(bob), "first").await;
    ada.sent(Target::User(eve), "first of the other").await;
    stored(&world, bad, 1).await;

    world.services.chats.refuse(bad, true);
    let taken = send_until_refused(&ada, Target::User(bob)).await;
    ada.sent(Target::User(eve), "second of the other").await;
    stored(&world, good, 2).await;
    stored(&world, bad, 1).await;

    // Another node takes over: it has of the log what the store does not, and meets the same refusal.
    world.place(&["b"]).await;
    assert_eq!(ada.sent(Target::User(eve), "third of the other").await, 3);
    stored(&world, good, 3).await;

    world.services.chats.refuse(bad, false);
    stored(&world, bad, 1 + taken).await;
    assert_eq!(ada.sent(Target::User(bob), "last").await, taken + 2);
    stored(&world, bad, taken + 2).await;
    let entries = world
        .services
        .chats
        .entries(bad, 1, u64::MAX, 1000)
        .await
        .expect("entries");
    assert!(entries.iter().map(|entry| entry.seq()).eq(1..=taken + 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_looked_for_is_not_said_to_be_missing() {
    let mut world = World::of(&["a", "b"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("a"));
    let ada = world.connect("a", ada, None).await;
    world.place(&["a"]).await;
    let conversation = ConversationId::direct(ada.user, bob);
    ada.sent(Target::User(bob), "first").await;
    stored(&world, conversation, 1).await;
    // The new owner has nothing of it in memory.
    world.place(&["b"]).await;
    let edit = |body: &str| ClientFrame::Edit {
        conversation,
        seq: 1,
        body: body.into(),
    };
    world.services.chats.set_away(true);
    ada.say(edit("too early"), Some("too early"));
    let refused = |frame: &ServerFrame| match frame {
        ServerFrame::Error { id: Some(id), code, .. } if id == "too early" => Some(*code),
        _ => None,
    };
    ada.socket
        .wait("a refusal", |got| got.iter().any(|frame| refused(frame).is_some()))
        .await;
    let code = ada.socket.got.lock().iter().find_map(refused);
    assert_eq!(code, Some(ErrorCode::Unavailable));
    world.services.chats.set_away(false);
    ada.say(edit("again"), Some("again"));
    let done = |frame: &ServerFrame| matches!(frame, ServerFrame::Ok { id: Some(id), seq: Some(2) } if id == "again");
    ada.socket.wait("its seq", |got| got.iter().any(done)).await;
}
