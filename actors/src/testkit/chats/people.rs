//! Who is, was and knows whom.

use super::{Chat, World, member, three};
use crate::id::{ConversationId, UserId};
use crate::ports::chats::{CursorUpdate, Cursors, Step};

pub(super) async fn suite(fresh: &impl AsyncFn() -> World) {
    receipts_page_by_user(fresh().await).await;
    acquainted_are_those_who_share_a_conversation(fresh().await).await;
    an_ex_member_is_remembered_and_a_stranger_is_not(fresh().await).await;
    members_come_by_user_id(fresh().await).await;
}

async fn receipts_page_by_user(world: World) {
    let mut users: Vec<UserId> = (0..25).map(|_| UserId::fresh()).collect();
    let mut chat = Chat::of(&world, &users).await;
    users.sort_unstable();
    chat.say(&world, users[0], 25).await;
    let update = |(number, user): (usize, &UserId)| CursorUpdate {
        user: *user,
        conversation: chat.id,
        read: number as u64,
        delivered: 25,
        devices: vec![],
    };
    let updates = users.iter().enumerate().map(update).collect();
    world.chats.save_cursors(updates).await.expect("save_cursors");
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = world.chats.receipts(chat.id, after, 10).await.expect("receipts");
        after = page.last().map(|one| one.user);
        seen.extend(page.iter().cloned());
        if page.len() < 10 {
            break;
        }
    }
    let expected = users.iter().enumerate().map(|(number, user)| Cursors {
        user: *user,
        delivered: 25,
        read: number as u64,
    });
    assert!(seen.into_iter().eq(expected));
    let nowhere = world.chats.receipts(ConversationId::fresh(), None, 10).await;
    assert!(nowhere.expect("receipts").is_empty());
}

async fn acquainted_are_those_who_share_a_conversation(world: World) {
    let [ada, bob, eve] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    Chat::of(&world, &[bob, eve]).await;
    let acquainted = async |user, others: &[UserId]| world.chats.acquainted(user, others).await.expect("acquainted");
    assert_eq!(acquainted(ada, &[eve, bob, UserId::fresh()]).await, [bob]);
    assert_eq!(acquainted(bob, &[eve, ada]).await, [eve, ada]);
    assert!(acquainted(ada, &[]).await.is_empty());
    assert!(acquainted(UserId::fresh(), &[ada, bob]).await.is_empty());
    chat.project(&world, vec![Step::Left(vec![bob])]).await;
    assert!(acquainted(ada, &[bob]).await.is_empty());
}

async fn an_ex_member_is_remembered_and_a_stranger_is_not(world: World) {
    let [ada, bob, eve] = three();
    let mut chat = Chat::of(&world, &[ada, bob]).await;
    chat.project(&world, vec![Step::Left(vec![bob, eve])]).await;
    let was = async |user| world.chats.was_member(chat.id, user).await.expect("was_member");
    assert_eq!((was(ada).await, was(bob).await, was(eve).await), (true, true, false));
    let nowhere = world.chats.was_member(ConversationId::fresh(), ada).await;
    assert!(!nowhere.expect("was_member"));
}

async fn members_come_by_user_id(world: World) {
    let mut users: Vec<UserId> = (0..300).map(|_| UserId::fresh()).collect();
    users.reverse();
    let mut chat = Chat::of(&world, &users).await;
    users.sort_unstable();
    let left = users.split_off(200);
    chat.project(&world, vec![Step::Left(left), Step::Joined(vec![member(users[7], 0)])])
        .await;
    let members = chat.snapshot(&world).await.members;
    assert!(members.iter().map(|one| one.user).eq(users));
}
