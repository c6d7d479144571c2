//! Lists of conversations: they say the same whether these are in memory or not, and bring hardly one there.

use rookery_actors::id::ConversationId;
use rookery_actors::protocol::view::Message;
use rookery_actors::protocol::{ServerFrame, Target};
use rookery_actors::system::System;

use crate::support::{Client, World};

/// What the inbox of a user says of each conversation: head, unread, and the latest message.
async fn listed(system: &System, client: &Client) -> Vec<(ConversationId, u64, u32, Option<Message>)> {
    let page = system.inbox(client.user, None, 100).await.expect("an inbox");
    let mut rows: Vec<_> = page
        .items
        .into_iter()
        .map(|row| (row.id, row.head, row.unread, row.last_message))
        .collect();
    rows.sort_by_key(|row| row.0);
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_says_the_same_of_conversations_that_are_not_in_memory_and_wakes_only_where_much_is_unread() {
    let mut world = World::of(&["a", "b"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("b"));
    let (ada, bob) = (world.connect("a", ada, None).await, world.connect("b", bob, None).await);
    // More than is counted without waking a conversation, and than its tail keeps.
    for number in 0..130 {
        ada.sent(Target::User(bob.user), &format!("ada {number}")).await;
    }
    bob.sent(Target::User(ada.user), "bob").await;
    for number in 0..20 {
        let peer = world.user_of("b");
        ada.sent(Target::User(peer), &number.to_string()).await;
        let peer = world.connect("b", peer, None).await;
        peer.sent(Target::User(bob.user), "hello").await;
    }
    let (of_ada, of_bob) = (
        listed(&world.nodes["a"], &ada).await,
        listed(&world.nodes["a"], &bob).await,
    );
    assert_eq!((of_ada.len(), of_bob.len()), (21, 21));
    let common = ConversationId::direct(ada.user, bob.user);
    let unread = |rows: &[(ConversationId, u64, u32, Option<Message>)]| {
        rows.iter().find(|row| row.0 == common).map(|row| (row.1, row.2))
    };
    assert_eq!((unread(&of_ada), unread(&of_bob)), (Some((131, 1)), Some((131, 130))));

    // Those who take over have no conversation in memory that is stored.
    world.start("c").await;
    world.place(&["c"]).await;
    let active = |world: &World| {
        world
            .nodes
            .values()
            .map(|node| node.census().conversations)
            .sum::<usize>()
    };
    assert_eq!(active(&world), 0);
    for node in ["c", "b"] {
        assert_eq!(listed(&world.nodes[node], &ada).await, of_ada);
        assert_eq!(listed(&world.nodes[node], &bob).await, of_bob);
    }
    assert_eq!(active(&world), 1, "of which bob has not read 130");
    let again = world.connect("b", bob.user, None).await;
    again
        .socket
        .wait("the last sync", |got| {
            got.iter()
                .any(|frame| matches!(frame, ServerFrame::Sync { more: false, .. }))
        })
        .await;
    let got = again.socket.got.lock();
    let synced = got.iter().flat_map(|frame| match frame {
        ServerFrame::Sync { conversations, .. } => conversations.as_slice(),
        _ => &[],
    });
    let mut synced: Vec<_> = synced.map(|item| (item.id, item.head, item.unread)).collect();
    synced.sort();
    let of_bob: Vec<_> = of_bob.iter().map(|row| (row.0, row.1, row.2)).collect();
    assert_eq!(synced, of_bob);
}
