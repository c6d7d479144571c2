//! Typing and presence reach those who may know, and cost next to nothing: typing passes once in three seconds and not in large
//! groups, presence comes of exactly the watched users.

use serde_json::{Value, json};

use crate::support::{Client, Server, User};

async fn watch(client: &mut Client, users: &[&User]) {
    let users: Vec<_> = users.iter().map(|user| user.id.as_str()).collect();
    client.ok(json!({"t": "watch", "users": users})).await;
}

async fn presence(client: &mut Client, user: &User) -> Value {
    client
        .expect(&format!("presence of {}", user.name), |frame| {
            frame["t"] == "presence" && frame["user"] == user.id.as_str()
        })
        .await
}

#[tokio::test]
async fn typing_passes_to_the_others_once_in_three_seconds() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let (mut adas, mut brians) = (ada.connect().await, brian.connect().await);
    for _ in 0..10 {
        adas.typing(&chat);
    }
    adas.settle().await;
    let typing = brians.expect_t("typing").await;
    assert_eq!(
        (&typing["conversation"], &typing["user"]),
        (&json!(chat), &json!(ada.id))
    );
    adas.say(&chat, "typed").await;
    brians.message(&chat).await;
    brians.has_no("typing").await;
    adas.has_no("typing").await;
    tokio::time::sleep(std::time::Duration::from_millis(3_100)).await;
    adas.typing(&chat);
    brians.expect_t("typing").await;
}

#[tokio::test]
async fn typing_does_not_pass_in_a_large_group() {
    let server = Server::with(&[("LIMITS__RECEIPT_PUSH_MEMBERS", "2")]).await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let large = ada.group("Large", &[&brian, &carol]).await;
    let small = ada.group("Small", &[&brian]).await;
    let (mut adas, mut brians) = (ada.connect().await, brian.connect().await);
    adas.typing(&large);
    adas.settle().await;
    adas.typing(&small);
    assert_eq!(brians.expect_t("typing").await["conversation"], small.as_str());
    adas.say(&large, "typed").await;
    brians.message(&large).await;
    brians.has_no("typing").await;
}

#[tokio::test]
async fn presence_follows_the_watched_user_in_and_out() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    ada.direct(&brian).await;
    let mut adas = ada.connect().await;
    watch(&mut adas, &[&brian]).await;
    assert_eq!(presence(&mut adas, &brian).await["online"], false);
    let phone = brian.connect().await;
    assert_eq!(presence(&mut adas, &brian).await["online"], true);
    let laptop = brian.connect().await;
    phone.close().await;
    adas.has_no("presence").await;
    laptop.close().await;
    let gone = presence(&mut adas, &brian).await;
    assert_eq!(gone["online"], false);
    assert!(gone["last_seen_at"].is_string(), "{gone}");
    // Kept with what else is stored of sessions, a moment later.
    let deadline = std::time::Instant::now() + crate::support::client::PATIENCE;
    let path = format!("/api/users/{}", brian.id);
    while ada.get(&path).await.is(200)["last_seen_at"].is_null() {
        assert!(
            std::time::Instant::now() < deadline,
            "nobody remembers when Brian was seen"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_watch_replaces_the_one_before() {
    let server = Server::start().await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    ada.group("All", &[&brian, &carol]).await;
    let mut adas = ada.connect().await;
    watch(&mut adas, &[&brian]).await;
    presence(&mut adas, &brian).await;
    watch(&mut adas, &[&carol]).await;
    presence(&mut adas, &carol).await;
    let brians = brian.connect().await;
    let _carols = carol.connect().await;
    assert_eq!(presence(&mut adas, &carol).await["online"], true);
    adas.has_no("presence").await;
    watch(&mut adas, &[]).await;
    brians.close().await;
    adas.has_no("presence").await;
}

#[tokio::test]
async fn nothing_comes_of_somebody_one_shares_nothing_with() {
    let server = Server::start().await;
    let [ada, brian, eve] = server.users(["Ada", "Brian", "Eve"]).await;
    ada.direct(&brian).await;
    let mut eves = eve.connect().await;
    watch(&mut eves, &[&ada, &brian]).await;
    let adas = ada.connect().await;
    adas.close().await;
    eves.has_no("presence").await;
}

#[tokio::test]
async fn more_than_the_watched_users_allowed_is_too_large() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let mut adas = ada.connect().await;
    let many: Vec<_> = (0..201).map(|_| brian.id.as_str()).collect();
    let distinct: Vec<_> = (0..201).map(|n| format!("0199aa00-0000-7000-8000-{n:012}")).collect();
    adas.refused(json!({"t": "watch", "users": distinct}), "too_large")
        .await;
    let _ = adas.request(json!({"t": "watch", "users": many})).await;
    let request = json!({"t": "watch", "users": ["nonsense"]});
    let error = adas.request(request).await;
    assert_eq!(error["t"], "error");
}

#[tokio::test]
async fn silence_for_too_long_closes_with_4010_and_pings_prevent_it() {
    let settings = [("LIMITS__HEARTBEAT_SECONDS", "1"), ("LIMITS__IDLE_SECONDS", "3")];
    let server = Server::with(&settings).await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let mut answering = ada.connect().await;
    assert_eq!(answering.hello["heartbeat_s"], 1);
    let mut silent = brian.connect().await;
    // Without reading there are no pongs.
    silent.stop_reading();
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    silent.go_on_reading();
    assert_eq!(silent.closed().await, 4010);
    answering.settle().await;
}
