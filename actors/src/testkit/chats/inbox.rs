//! Inboxes, cursors and a user's own settings.

use super::{Chat, World, member, three};
use crate::id::{ConversationId, DeviceId, LoginId, UserId};
use crate::ports::accounts::Device;
use crate::ports::chats::{CursorUpdate, DeviceCursors, Inbox, Membership, Step};
use crate::time::Timestamp;

pub(super) async fn suite(fresh: &impl AsyncFn() -> World, reopened: &impl AsyncFn(World) -> World) {
    inboxes_come_in_the_order_asked(fresh().await).await;
    a_membership_starts_at_the_head_of_its_joining(fresh().await).await;
    cursors_only_grow(fresh().await, reopened).await;
    a_device_has_a_cursor_of_its_own(fresh().await, reopened).await;
    many_devices_come_and_go(fresh().await).await;
    who_leaves_takes_all_cursors_along(fresh().await).await;
    settings_are_changed_one_by_one(fresh().await, reopened).await;
    heads_come_in_the_order_asked(fresh().await).await;
}

async fn inbox(world: &World, user: UserId) -> Inbox {
    world.chats.inboxes(&[user]).await.expect("inboxes").remove(0)
}

/// The only membership of a user.
async fn membership(world: &World, user: UserId) -> Membership {
    let mut inbox = inbox(world, user).await;
    assert_eq!(inbox.memberships.len(), 1);
    inbox.memberships.remove(0)
}

fn device() -> Device {
    Device {
        id: DeviceId::fresh(),
        login: LoginId::fresh(),
        name: "a phone".into(),
        created_at: Timestamp(3),
        last_seen_at: None,
    }
}

async fn add(world: &World, user: UserId, device: &Device) {
    let gone = world.accounts.create_device(user, device.clone(), 100).await;
    assert!(gone.expect("create_device").is_empty());
}

fn moved(user: UserId, chat: &Chat, read: u64, delivered: u64, devices: &[(DeviceId, u64)]) -> CursorUpdate {
    CursorUpdate {
        user,
        conversation: chat.id,
        read,
        delivered,
        devices: devices.to_vec(),
    }
}

async fn save(world: &World, updates: Vec<CursorUpdate>) {
    world.chats.save_cursors(updates).await.expect("save_cursors");
}

async fn inboxes_come_in_the_order_asked(world: World) {
    let [ada, bob, eve] = three();
    let both = Chat::of(&world, &[ada, bob]).await;
    let own = Chat::of(&world, &[bob]).await;
    let phone = device();
    add(&world, bob, &phone).await;
    let inboxes = world.chats.inboxes(&[eve, bob, ada, bob]).await.expect("inboxes");
    let mut conversations: Vec<Vec<ConversationId>> = Vec::new();
    for inbox in &inboxes {
        let mut ids: Vec<_> = inbox.memberships.iter().map(|one| one.conversation).collect();
        ids.sort_unstable();
        conversations.push(ids);
    }
    let mut bobs = vec![both.id, own.id];
    bobs.sort_unstable();
    assert_eq!(conversations, [vec![], bobs.clone(), vec![both.id], bobs]);
    let devices: Vec<_> = inboxes.iter().map(|inbox| inbox.devices.len()).collect();
    assert_eq!(devices, [0, 1, 0, 1]);
    assert!(world.chats.inboxes(&[]).await.expect("inboxes").is_empty());
}

async fn a_membership_starts_at_the_head_of_its_joining(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada]).await;
    chat.say(&world, ada, 7).await;
    chat.project(&world, vec![Step::Joined(vec![member(bob, 7)])]).await;
    chat.say(&world, ada, 1).await;
    let expected = Membership {
        conversation: chat.id,
        head: 8,
        active_at: Timestamp(1000 + chat.applied as i64),
        joined_seq: 7,
        joined_at: Timestamp(17),
        read: 7,
        delivered: 7,
        muted_until: None,
        pinned: false,
    };
    assert_eq!(membership(&world, bob).await, expected);
}

async fn cursors_only_grow(world: World, reopened: &impl AsyncFn(World) -> World) {
    let [ada, bob, eve] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    chat.say(&world, ada, 9).await;
    for (read, delivered, expected) in [(3, 5, (3, 5)), (2, 6, (3, 6)), (4, 1, (4, 6)), (0, 0, (4, 6))] {
        save(&world, vec![moved(bob, &chat, read, delivered, &[])]).await;
        let now = membership(&world, bob).await;
        assert_eq!((now.read, now.delivered), expected);
    }
    // Somebody who is no member, and a conversation that does not exist, are passed over; the rest is saved.
    let nowhere = CursorUpdate {
        conversation: ConversationId::fresh(),
        ..moved(ada, &chat, 9, 9, &[])
    };
    save(
        &world,
        vec![moved(eve, &chat, 1, 1, &[]), nowhere, moved(ada, &chat, 2, 3, &[])],
    )
    .await;
    let world = reopened(world).await;
    assert!(inbox(&world, eve).await.memberships.is_empty());
    let [adas, bobs] = [membership(&world, ada).await, membership(&world, bob).await];
    assert_eq!((adas.read, adas.delivered, bobs.read, bobs.delivered), (2, 3, 4, 6));
}

async fn a_device_has_a_cursor_of_its_own(world: World, reopened: &impl AsyncFn(World) -> World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    chat.say(&world, ada, 9).await;
    let (phone, laptop, strangers) = (device(), device(), device());
    add(&world, bob, &phone).await;
    add(&world, bob, &laptop).await;
    add(&world, ada, &strangers).await;
    save(&world, vec![moved(bob, &chat, 0, 6, &[(phone.id, 6)])]).await;
    save(&world, vec![moved(bob, &chat, 0, 6, &[(phone.id, 4), (laptop.id, 2)])]).await;
    let world = reopened(world).await;
    let devices = inbox(&world, bob).await.devices;
    let cursors = |device: &Device| {
        devices
            .iter()
            .find(|one| one.device == device.id)
            .map(|one| one.cursors.clone())
    };
    assert_eq!(cursors(&phone), Some(vec![(chat.id, 6)]));
    assert_eq!(cursors(&laptop), Some(vec![(chat.id, 2)]));
    let adas = DeviceCursors {
        device: strangers.id,
        login: strangers.login,
        name: "a phone".into(),
        created_at: Timestamp(3),
        last_seen_at: None,
        cursors: vec![],
    };
    assert_eq!(inbox(&world, ada).await.devices, [adas]);
    world
        .accounts
        .delete_device(bob, phone.id)
        .await
        .expect("delete_device");
    assert_eq!(inbox(&world, bob).await.devices.len(), 1);
}

async fn many_devices_come_and_go(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    chat.say(&world, ada, 100).await;
    let kept = device();
    add(&world, bob, &kept).await;
    save(&world, vec![moved(bob, &chat, 0, 1, &[(kept.id, 1)])]).await;
    for seq in 1..=60 {
        let passing = device();
        add(&world, bob, &passing).await;
        save(&world, vec![moved(bob, &chat, 0, seq, &[(passing.id, seq)])]).await;
        let devices = inbox(&world, bob).await.devices;
        let cursors: usize = devices.iter().map(|device| device.cursors.len()).sum();
        assert_eq!(
            cursors, 2,
            "a living device's cursor is kept, a gone one's is not shown"
        );
        world
            .accounts
            .delete_device(bob, passing.id)
            .await
            .expect("delete_device");
    }
    let devices = inbox(&world, bob).await.devices;
    assert_eq!(devices[0].cursors, [(chat.id, 1)]);
}

async fn who_leaves_takes_all_cursors_along(world: World) {
    let [ada, bob, _] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    let phone = device();
    add(&world, bob, &phone).await;
    chat.say(&world, ada, 5).await;
    save(&world, vec![moved(bob, &chat, 5, 5, &[(phone.id, 5)])]).await;
    world
        .chats
        .save_preferences(bob, chat.id, None, Some(true))
        .await
        .expect("save");
    chat.project(&world, vec![Step::Left(vec![bob])]).await;
    let gone = inbox(&world, bob).await;
    assert!(gone.memberships.is_empty() && gone.devices[0].cursors.is_empty());
    // A cursor that was under way comes too late.
    save(&world, vec![moved(bob, &chat, 5, 5, &[(phone.id, 5)])]).await;
    chat.project(&world, vec![Step::Joined(vec![member(bob, 5)])]).await;
    let back = inbox(&world, bob).await;
    let membership = &back.memberships[0];
    assert_eq!(
        (
            membership.joined_seq,
            membership.read,
            membership.delivered,
            membership.pinned
        ),
        (5, 5, 5, false)
    );
    assert!(back.devices[0].cursors.is_empty());
}

async fn settings_are_changed_one_by_one(world: World, reopened: &impl AsyncFn(World) -> World) {
    let [ada, bob, eve] = three();
    let chat = Chat::of(&world, &[ada, bob]).await;
    let until = Some(Timestamp(77));
    for (muted, pinned, expected) in [
        (Some(until), None, (until, false)),
        (None, Some(true), (until, true)),
        (None, None, (until, true)),
        (Some(None), None, (None, true)),
        (Some(until), Some(false), (until, false)),
    ] {
        assert!(
            world
                .chats
                .save_preferences(bob, chat.id, muted, pinned)
                .await
                .expect("save")
        );
        let now = membership(&world, bob).await;
        assert_eq!((now.muted_until, now.pinned), expected);
    }
    assert!(
        !world
            .chats
            .save_preferences(eve, chat.id, None, Some(true))
            .await
            .expect("save")
    );
    let nowhere = ConversationId::fresh();
    assert!(
        !world
            .chats
            .save_preferences(bob, nowhere, None, Some(true))
            .await
            .expect("save")
    );
    let world = reopened(world).await;
    assert_eq!(membership(&world, bob).await.muted_until, until);
    assert_eq!(membership(&world, ada).await.muted_until, None);
}

async fn heads_come_in_the_order_asked(world: World) {
    let [ada, ..] = three();
    let mut one = Chat::of(&world, &[ada]).await;
    let mut other = Chat::of(&world, &[ada]).await;
    one.say(&world, ada, 1).await;
    other.say(&world, ada, 2).await;
    let asked = [other.id, ConversationId::fresh(), one.id, other.id];
    assert_eq!(world.chats.heads(&asked).await.expect("heads"), [2, 0, 1, 2]);
}
