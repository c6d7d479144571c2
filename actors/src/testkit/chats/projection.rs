//! Projections: idempotent, whole, and folded.

use super::{Chat, World, edit, group, member, message, react, sought, stored, three, update};
use crate::id::{ConversationId, FileId, UserId};
use crate::ports::chats::{
    Content, DEDUPE_WINDOW, Entry, Member, Profile, RecentChange, RecentId, Snapshot, Step, StoredChange,
    StoredMessage, StoredReaction,
};
use crate::protocol::Json;
use crate::protocol::view::Role;
use crate::time::Timestamp;

pub(super) async fn suite(fresh: &impl AsyncFn() -> World, reopened: &impl AsyncFn(World) -> World) {
    what_was_never_projected_is_unknown(fresh().await).await;
    a_projection_survives_a_restart(fresh().await, reopened).await;
    a_direct_conversation_keeps_its_pair(fresh().await).await;
    a_message_comes_back_as_it_was(fresh().await).await;
    the_same_projection_twice_changes_nothing(fresh().await).await;
    an_entry_that_is_there_is_not_replaced(fresh().await).await;
    updates_are_folded_into_their_message(fresh().await).await;
    a_message_and_its_updates_may_come_together(fresh().await).await;
    a_deleted_message_leaves_no_text(fresh().await, reopened).await;
    a_snapshot_has_the_latest_client_ids(fresh().await).await;
    a_client_id_is_found_however_old(fresh().await, reopened).await;
    roles_change_and_memberships_stay(fresh().await).await;
    a_deleted_group_leaves_a_tombstone(fresh().await, reopened).await;
    many_conversations_share_a_batch(fresh().await).await;
}

async fn what_was_never_projected_is_unknown(world: World) {
    let id = ConversationId::fresh();
    assert_eq!(world.chats.conversation(id).await.expect("conversation"), None);
    assert_eq!(world.chats.heads(&[id]).await.expect("heads"), [0]);
    assert!(world.chats.entries(id, 0, 100, 10).await.expect("entries").is_empty());
    assert_eq!(world.chats.message(id, 1).await.expect("message"), None);
    assert_eq!(world.found(id, UserId::fresh(), "x").await, None);
}

async fn a_projection_survives_a_restart(world: World, reopened: &impl AsyncFn(World) -> World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[bob, ada]).await;
    chat.say(&world, ada, 3).await;
    let before = chat.snapshot(&world).await;
    assert_eq!((before.head, before.applied), (3, chat.applied));
    assert_eq!(before.profile, group("a group"));
    assert_eq!(before.members, [member(ada, 0), member(bob, 0)]);
    assert_eq!(before.active_at, Timestamp(1000 + chat.applied as i64));
    let world = reopened(world).await;
    assert_eq!(chat.snapshot(&world).await, before);
    assert_eq!(chat.entries(&world).await.len(), 3);
}

async fn a_direct_conversation_keeps_its_pair(world: World) {
    let [ada, bob, _] = three();
    let id = ConversationId::direct(ada, bob);
    let mut chat = Chat {
        id,
        head: 0,
        applied: 0,
    };
    for gone in [vec![], vec![bob]] {
        let pair = [ada, bob];
        let profile = Profile::Direct { pair, gone };
        chat.project(&world, vec![Step::Profile(profile.clone())]).await;
        assert_eq!(chat.snapshot(&world).await.profile, profile);
    }
}

async fn a_message_comes_back_as_it_was(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    let full = StoredMessage {
        content: Content {
            body: "grüße \u{0} \u{1f426}".into(),
            data: Some(Json::from_stored(r#"{"a":[1,null]}"#)),
            attachments: vec![FileId::fresh(), FileId::fresh()],
            reply_to: Some(1),
            mentions: vec![bob],
        },
        edited_at: Some(Timestamp(7)),
        reactions: vec![StoredReaction {
            emoji: "\u{1f44d}".into(),
            users: vec![bob, ada],
        }],
        ..stored(1, ada, "an id, any text", "")
    };
    let plain = stored(2, bob, "", "");
    let entries = [Entry::Message(full), Entry::Message(plain)];
    let steps = entries.iter().map(|entry| Step::Entry(entry.clone().into())).collect();
    chat.project(&world, steps).await;
    assert_eq!(chat.entries(&world).await, entries);
}

async fn the_same_projection_twice_changes_nothing(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada]).await;
    let steps = vec![
        message(1, ada, "a", "text"),
        update(2, ada, 1, react("+", false)),
        Step::Joined(vec![member(bob, 2)]),
        Step::Left(vec![ada]),
        Step::Profile(group("renamed")),
    ];
    let projection = chat.next(steps);
    world.chats.project(vec![projection.clone()]).await.expect("project");
    let after = (chat.snapshot(&world).await, chat.entries(&world).await);
    chat.project(&world, vec![update(3, bob, 1, react("+", true))]).await;
    let later = (chat.snapshot(&world).await, chat.entries(&world).await);
    assert_ne!(after, later);
    for _ in 0..2 {
        world
            .chats
            .project(vec![projection.clone()])
            .await
            .expect("project again");
        assert_eq!((chat.snapshot(&world).await, chat.entries(&world).await), later);
    }
}

async fn an_entry_that_is_there_is_not_replaced(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    chat.project(&world, vec![message(1, ada, "a", "first")]).await;
    // A replay that begins a little early: new by its offset, old by its seqs.
    chat.project(
        &world,
        vec![message(1, bob, "b", "second"), message(2, bob, "c", "third")],
    )
    .await;
    assert_eq!(chat.message(&world, 1).await, stored(1, ada, "a", "first"));
    assert_eq!(chat.message(&world, 2).await, stored(2, bob, "c", "third"));
    assert_eq!(world.found(chat.id, bob, "b").await, None);
}

async fn updates_are_folded_into_their_message(world: World) {
    let [ada, bob, eve] = three();
    let mut chat = Chat::of(&world, &[ada, bob, eve]).await;
    chat.say(&world, ada, 2).await;
    let edited = chat.update(&world, ada, 1, edit("new text")).await;
    for (user, emoji) in [(bob, "x"), (eve, "y"), (eve, "x"), (bob, "y")] {
        chat.update(&world, user, 1, react(emoji, false)).await;
    }
    chat.update(&world, bob, 1, react("y", true)).await;
    let message = chat.message(&world, 1).await;
    assert_eq!(message.content.body, "new text");
    assert_eq!(message.edited_at, Some(Timestamp(5000 + edited as i64)));
    let reactions: Vec<_> = message
        .reactions
        .iter()
        .map(|one| (one.emoji.as_str(), one.users.clone()))
        .collect();
    assert_eq!(reactions, [("x", vec![bob, eve]), ("y", vec![eve])]);
    assert_eq!(chat.message(&world, 2).await, stored(2, ada, "c2", "text"));
    assert_eq!(world.chats.message(chat.id, edited).await.expect("message"), None);
    assert_eq!(chat.snapshot(&world).await.head, 8);
}

async fn a_message_and_its_updates_may_come_together(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    let steps = vec![
        message(1, ada, "a", "one"),
        update(2, ada, 1, edit("two")),
        message(3, ada, "b", "gone"),
        update(4, bob, 1, react("x", false)),
        update(5, ada, 3, edit("going")),
        update(6, ada, 3, StoredChange::Delete),
        update(7, ada, 1, edit("three")),
        // An update of what does not exist is kept and changes nothing.
        update(8, ada, 4711, edit("nowhere")),
    ];
    chat.project(&world, steps).await;
    let message = chat.message(&world, 1).await;
    assert_eq!((message.content.body.as_str(), message.reactions.len()), ("three", 1));
    assert!(chat.message(&world, 3).await.deleted);
    assert_eq!(chat.entries(&world).await.len(), 8);
    assert!(!format!("{:?}", chat.entries(&world).await).contains("going"));
}

async fn a_deleted_message_leaves_no_text(world: World, reopened: &impl AsyncFn(World) -> World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    chat.project(
        &world,
        vec![message(1, ada, "a", "secret one"), message(2, ada, "b", "open")],
    )
    .await;
    chat.update(&world, ada, 1, edit("secret two")).await;
    chat.update(&world, ada, 2, edit("open two")).await;
    chat.update(&world, bob, 1, react("x", false)).await;
    chat.update(&world, ada, 1, StoredChange::Delete).await;
    // Edits that were under way when it was deleted.
    chat.update(&world, ada, 1, edit("secret three")).await;
    let world = reopened(world).await;
    let message = chat.message(&world, 1).await;
    assert!(message.deleted && message.content == Content::default() && message.reactions.is_empty());
    let entries = format!("{:?}", chat.entries(&world).await);
    assert!(!entries.contains("secret") && entries.contains("open two"), "{entries}");
    // Its place and its client id stay taken.
    let found = world.found(chat.id, ada, "a").await;
    assert_eq!(found, Some((1, Timestamp(5001))));
    assert_eq!(chat.snapshot(&world).await.recent.len(), 2);
}

async fn a_snapshot_has_the_latest_client_ids(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    chat.say(&world, ada, 10).await;
    chat.update(&world, bob, 3, react("x", false)).await;
    chat.say(&world, bob, DEDUPE_WINDOW as u64 - 5).await;
    let Snapshot { recent, changes, .. } = chat.snapshot(&world).await;
    let change = RecentChange {
        seq: 11,
        of: 3,
        from: bob,
        idempotency: Some(u64::MAX - 11),
    };
    assert_eq!(changes, [change]);
    assert_eq!(recent.len(), DEDUPE_WINDOW);
    assert!(recent.is_sorted_by_key(|one| one.seq));
    let first = RecentId {
        from: ada,
        id: "c6".into(),
        seq: 6,
        at: Timestamp(5006),
    };
    assert_eq!(recent.first(), Some(&first));
    assert_eq!(recent.last().map(|one| one.seq), Some(chat.head));
    assert!(recent.iter().all(|one| one.seq != 11), "an update has no client id");
    chat.say(&world, ada, 5).await;
    assert_eq!(
        chat.snapshot(&world).await.changes,
        [],
        "it is not among the latest entries"
    );
}

async fn a_client_id_is_found_however_old(world: World, reopened: &impl AsyncFn(World) -> World) {
    let [ada, bob, eve] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    let mut other = Chat::of(&world, &[ada, bob]).await;
    for _ in 0..30 {
        chat.say(&world, ada, 71).await;
        chat.update(&world, bob, 1, react("x", false)).await;
        chat.say(&world, bob, 19).await;
        other.say(&world, bob, 1).await;
    }
    let world = reopened(world).await;
    for seq in (1..=chat.head).step_by(13).chain([chat.head]) {
        let from = match (seq - 1) % 91 {
            0..71 => ada,
            71 => continue,
            _ => bob,
        };
        let id = format!("c{seq}");
        let found = world.found(chat.id, from, &id).await;
        assert_eq!(found, Some((seq, Timestamp(5000 + seq as i64))), "{id}");
        for stranger in [if from == ada { bob } else { ada }, eve] {
            assert_eq!(world.found(chat.id, stranger, &id).await, None);
        }
    }
    assert_eq!(world.found(other.id, ada, "c1").await, None);
    assert_eq!(world.found(chat.id, ada, "never").await, None);
    // Many at once, one of them twice.
    let many = [
        sought(other.id, bob, "c30"),
        sought(chat.id, ada, "never"),
        sought(chat.id, ada, "c1"),
        sought(ConversationId::fresh(), ada, "c1"),
        sought(chat.id, ada, "c1"),
    ];
    let [first, last] = [1, 30].map(|seq| Some((seq, Timestamp(5000 + seq as i64))));
    let found = world.chats.find(&many).await.expect("find");
    assert_eq!(found, [last, None, first, None, first]);
    assert_eq!(world.chats.find(&[]).await.expect("find"), []);
}

async fn roles_change_and_memberships_stay(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    chat.say(&world, ada, 5).await;
    let promoted = Member {
        role: Role::Admin,
        admin_since: Some(Timestamp(99)),
        ..member(bob, 0)
    };
    chat.project(&world, vec![Step::Joined(vec![promoted.clone()])]).await;
    assert_eq!(chat.snapshot(&world).await.members, [member(ada, 0), promoted]);
    chat.project(&world, vec![Step::Joined(vec![member(bob, 0)]), Step::Left(vec![ada])])
        .await;
    assert_eq!(chat.snapshot(&world).await.members, [member(bob, 0)]);
}

async fn a_deleted_group_leaves_a_tombstone(world: World, reopened: &impl AsyncFn(World) -> World) {
    let [ada, bob, eve] = three();
    let mut chat = Chat::of(&world, &[ada, bob, eve]).await;
    let mut other = Chat::of(&world, &[ada]).await;
    other.say(&world, ada, 2).await;
    chat.say(&world, ada, 300).await;
    chat.project(&world, vec![Step::Left(vec![eve])]).await;
    chat.project(&world, vec![Step::Deleted]).await;
    assert_buried(&world, &chat, [ada, bob, eve]).await;
    // The id is never used again.
    let ghost = vec![Step::Joined(vec![member(bob, 0)]), message(301, bob, "z", "ghost")];
    chat.project(&world, ghost).await;
    assert_buried(&world, &chat, [ada, bob, eve]).await;
    let world = reopened(world).await;
    assert_buried(&world, &chat, [ada, bob, eve]).await;
    assert_eq!(other.entries(&world).await.len(), 2);
    assert_eq!(world.chats.heads(&[chat.id, other.id]).await.expect("heads"), [0, 2]);
}

async fn assert_buried(world: &World, chat: &Chat, users: [UserId; 3]) {
    let tombstone = chat.snapshot(world).await;
    assert!(tombstone.deleted && tombstone.members.is_empty() && tombstone.recent.is_empty());
    assert!(
        !format!("{:?}", tombstone.profile).contains("a group"),
        "the name is still there"
    );
    assert_eq!(tombstone.applied, chat.applied);
    assert!(chat.entries(world).await.is_empty());
    assert_eq!(world.chats.message(chat.id, 1).await.expect("message"), None);
    assert_eq!(world.found(chat.id, users[0], "c1").await, None);
    assert!(
        world
            .chats
            .receipts(chat.id, None, 10)
            .await
            .expect("receipts")
            .is_empty()
    );
    assert_eq!(
        world.chats.acquainted(users[0], &users[1..]).await.expect("acquainted"),
        []
    );
    for user in users {
        assert!(!world.chats.was_member(chat.id, user).await.expect("was_member"));
        let inbox = world.chats.inboxes(&[user]).await.expect("inboxes").remove(0);
        assert!(inbox.memberships.iter().all(|one| one.conversation != chat.id));
    }
}

async fn many_conversations_share_a_batch(world: World) {
    let [ada, bob, _] = three();
    let mut chats = Vec::new();
    let mut batch = Vec::new();
    for number in 0..50 {
        let id = ConversationId::fresh();
        let mut chat = Chat {
            id,
            head: 0,
            applied: 0,
        };
        let members = vec![member(ada, 0), member(bob, 0)];
        batch.push(chat.next(vec![Step::Profile(group("one of many")), Step::Joined(members)]));
        // The same conversation may come twice in a batch, in order.
        batch.push(chat.next((1..=number).map(|seq| message(seq, ada, "same id", "text")).collect()));
        chats.push(chat);
    }
    world.chats.project(batch).await.expect("project");
    let ids: Vec<_> = chats.iter().map(|chat| chat.id).collect();
    let heads = world.chats.heads(&ids).await.expect("heads");
    assert!(heads.into_iter().eq(0..50));
    for chat in &chats {
        assert_eq!(chat.entries(&world).await.len() as u64, chat.head);
    }
}
