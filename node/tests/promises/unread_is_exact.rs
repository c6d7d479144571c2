//! `unread` counts the messages of others beyond the read cursor, exactly up to 999.

use serde_json::json;

use crate::support::{Server, User, number};

async fn unread(user: &User, chat: &str) -> u64 {
    let row = number(&user.inbox_row(chat).await.unwrap()["unread"]);
    let news = number(&user.connect().await.news(chat).unwrap()["unread"]);
    assert_eq!(row, news, "inbox and sync agree");
    row
}

#[tokio::test]
async fn ones_own_messages_and_updates_do_not_count() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    ada.say(&chat, "m1", "one").await;
    brian.say(&chat, "m2", "two").await;
    ada.say(&chat, "m3", "three").await;
    assert_eq!(unread(&brian, &chat).await, 2);
    assert_eq!(unread(&ada, &chat).await, 1);
    ada.patch(&format!("/api/messages/{chat}/1"), json!({"body": "one!"}))
        .await
        .succeeds();
    ada.put(&format!("/api/messages/{chat}/2/reactions/x")).await.succeeds();
    assert_eq!(unread(&brian, &chat).await, 2, "an edit and a reaction are no messages");
    ada.delete(&format!("/api/messages/{chat}/3")).await.succeeds();
    assert_eq!(unread(&brian, &chat).await, 2, "a deleted message still counts");
}

#[tokio::test]
async fn reading_lowers_it_to_exactly_what_is_left() {
    let mut server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Pages", &[&brian]).await;
    for n in 1..=10 {
        let sender = if n % 2 == 0 { &ada } else { &brian };
        sender.say(&group, &format!("m{n}"), "text").await;
    }
    assert_eq!(unread(&brian, &group).await, 5);
    let read = format!("/api/conversations/{group}/read");
    brian.post(&read, json!({"seq": 4})).await.succeeds();
    assert_eq!(unread(&brian, &group).await, 3);
    brian.post(&read, json!({"seq": 2})).await.succeeds();
    assert_eq!(unread(&brian, &group).await, 3, "the cursor does not go back");
    server.stop().await;
    server.start_again().await;
    assert_eq!(unread(&brian, &group).await, 3);
    brian.post(&read, json!({"seq": 10})).await.succeeds();
    assert_eq!(unread(&brian, &group).await, 0);
    ada.say(&group, "m11", "new").await;
    assert_eq!(unread(&brian, &group).await, 1);
}

#[tokio::test]
async fn beyond_999_it_stays_999() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    ada.connect().await.pour(&chat, 1..=1_010, "text").await;
    assert_eq!(unread(&brian, &chat).await, 999);
    brian
        .post(&format!("/api/conversations/{chat}/read"), json!({"seq": 11}))
        .await
        .succeeds();
    assert_eq!(unread(&brian, &chat).await, 999);
    brian
        .post(&format!("/api/conversations/{chat}/read"), json!({"seq": 12}))
        .await
        .succeeds();
    assert_eq!(unread(&brian, &chat).await, 998);
}
