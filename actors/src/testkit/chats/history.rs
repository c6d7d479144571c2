//! Reading entries, messages and counts.

use super::{Chat, World, edit, react, three};
use crate::id::ConversationId;
use crate::ports::chats::{Entry, OVERVIEW_ENTRIES, Span, Step, StoredChange};

pub(super) async fn suite(fresh: &impl AsyncFn() -> World) {
    a_range_of_entries_is_bounded_on_both_sides(fresh().await).await;
    a_page_of_messages_holds_no_updates(fresh().await).await;
    a_page_says_whether_there_are_more(fresh().await).await;
    unread_counts_messages_of_others_to_a_cap(fresh().await).await;
    an_overview_is_for_members(fresh().await).await;
    a_large_message_is_kept(fresh().await).await;
}

async fn a_range_of_entries_is_bounded_on_both_sides(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    // A neighbour on either side: none of its entries may show.
    let mut next = Chat::of(&world, &[ada, bob]).await;
    next.say(&world, bob, 30).await;
    chat.say(&world, ada, 20).await;
    let seqs = async |from, to, limit| {
        let entries = world.chats.entries(chat.id, from, to, limit).await.expect("entries");
        entries.iter().map(Entry::seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(3, 6, 100).await, [3, 4, 5, 6]);
    assert_eq!(seqs(3, 6, 2).await, [3, 4]);
    assert_eq!(seqs(19, u64::MAX, 100).await, [19, 20]);
    assert_eq!(seqs(0, 1, 100).await, [1]);
    assert!(seqs(21, 30, 100).await.is_empty());
    assert!(seqs(6, 3, 100).await.is_empty());
    assert!(seqs(u64::MAX, u64::MAX, 100).await.is_empty());
    assert!(seqs(1, 20, 0).await.is_empty());
}

async fn a_page_of_messages_holds_no_updates(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    for _ in 0..4 {
        chat.say(&world, ada, 2).await;
        let seq = chat.head;
        chat.update(&world, bob, seq, react("x", false)).await;
    }
    let page = async |span, limit| {
        let (messages, more) = world.chats.messages(chat.id, span, limit).await.expect("messages");
        (messages.iter().map(|message| message.seq).collect::<Vec<_>>(), more)
    };
    assert_eq!(page(Span::Before(u64::MAX), 3).await, (vec![11, 10, 8], true));
    assert_eq!(page(Span::Before(8), 3).await, (vec![7, 5, 4], true));
    assert_eq!(page(Span::After(0), 3).await, (vec![1, 2, 4], true));
    assert_eq!(page(Span::After(5), 100).await, (vec![7, 8, 10, 11], false));
    let (messages, _) = world
        .chats
        .messages(chat.id, Span::After(0), 2)
        .await
        .expect("messages");
    assert_eq!(messages[1].reactions.len(), 1);
}

async fn a_page_says_whether_there_are_more(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    let mut next = Chat::of(&world, &[ada, bob]).await;
    next.say(&world, bob, 30).await;
    chat.say(&world, ada, 10).await;
    for (span, limit, count, more) in [
        (Span::Before(u64::MAX), 10, 10, false),
        (Span::Before(u64::MAX), 9, 9, true),
        (Span::Before(1), 9, 0, false),
        (Span::Before(0), 9, 0, false),
        (Span::After(10), 9, 0, false),
        (Span::After(9), 9, 1, false),
        (Span::After(u64::MAX), 9, 0, false),
        (Span::After(0), 10, 10, false),
    ] {
        let page = world.chats.messages(chat.id, span, limit).await.expect("messages");
        assert_eq!((page.0.len(), page.1), (count, more), "{span:?}");
    }
}

async fn unread_counts_messages_of_others_to_a_cap(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    chat.say(&world, ada, 10).await;
    chat.say(&world, bob, 5).await;
    chat.update(&world, ada, 1, edit("x")).await;
    chat.update(&world, ada, 2, StoredChange::Delete).await;
    chat.say(&world, ada, 3).await;
    let unread = async |user, after, upto, most| {
        world
            .chats
            .unread(chat.id, user, after, upto, most)
            .await
            .expect("unread")
    };
    assert_eq!(unread(bob, 0, chat.head, 999).await, 13);
    assert_eq!(unread(bob, 8, chat.head, 999).await, 5);
    assert_eq!(unread(bob, 0, 9, 999).await, 9);
    assert_eq!(unread(bob, 0, u64::MAX, 4).await, 4);
    assert_eq!(unread(ada, 0, chat.head, 999).await, 5);
    assert_eq!(unread(bob, chat.head, chat.head, 999).await, 0);
    assert_eq!(unread(bob, u64::MAX, u64::MAX, 999).await, 0);
}

async fn an_overview_is_for_members(world: World) {
    let [ada, bob, eve] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    // A neighbour on either side: its messages are not the latest here.
    let mut next = Chat::of(&world, &[ada, eve]).await;
    next.say(&world, eve, 9).await;
    let overview = async |id, user| world.chats.overview(id, user, 1).await.expect("overview");
    let empty = overview(chat.id, ada).await.expect("of a member");
    assert_eq!((empty.head, empty.unread, empty.latest), (0, 0, None));
    chat.say(&world, ada, 3).await;
    chat.update(&world, bob, 3, edit("y")).await;
    let snapshot = chat.snapshot(&world).await;
    for (user, unread) in [(ada, 0), (bob, 2)] {
        let seen = overview(chat.id, user).await.expect("of a member");
        assert_eq!((seen.head, seen.unread, &seen.profile), (4, unread, &snapshot.profile));
        assert_eq!(seen.latest, Some(chat.message(&world, 3).await));
    }
    assert_eq!(overview(chat.id, eve).await, None);
    assert_eq!(overview(ConversationId::fresh(), ada).await, None);
    chat.say(&world, ada, OVERVIEW_ENTRIES - 3).await;
    assert_eq!(overview(chat.id, bob).await.map(|seen| seen.unread), Some(99));
    chat.say(&world, ada, 1).await;
    assert_eq!(overview(chat.id, bob).await, None);
    let read = chat.head;
    let overview = async |id, user| world.chats.overview(id, user, read).await.expect("overview");
    chat.project(&world, vec![Step::Left(vec![bob])]).await;
    assert_eq!(overview(chat.id, bob).await, None);
    assert!(overview(chat.id, ada).await.is_some());
    chat.project(&world, vec![Step::Deleted]).await;
    assert_eq!(overview(chat.id, ada).await, None);
}

async fn a_large_message_is_kept(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    let large = "\u{1f426}".repeat(4096);
    let steps = (1..=20)
        .map(|seq| super::message(seq, ada, &format!("c{seq}"), &large))
        .collect();
    chat.project(&world, steps).await;
    for seq in 1..=20 {
        assert_eq!(chat.message(&world, seq).await.content.body, large);
    }
}
