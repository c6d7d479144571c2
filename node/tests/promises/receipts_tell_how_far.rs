//! Receipts tell how far each member has got: coalesced, pushed where a group is small, asked for where it is large.

use serde_json::{Value, json};

use crate::support::{Client, Server, User, items, number};

/// Waits for a receipt in which a member has got that far.
async fn receipt(client: &mut Client, chat: &str, user: &User, delivered: u64, read: u64) {
    client
        .expect(
            &format!("a receipt of {} with {delivered}/{read}", user.name),
            |frame| {
                frame["t"] == "receipt"
                    && frame["conversation"] == chat
                    && frame["user"] == user.id.as_str()
                    && frame["delivered"] == delivered
                    && frame["read"] == read
            },
        )
        .await;
}

async fn asked(asker: &User, chat: &str, of: &User) -> (u64, u64) {
    let page = asker
        .get(&format!("/api/conversations/{chat}/receipts?limit=500"))
        .await
        .is(200);
    let found = items(&page);
    let found = found.iter().find(|receipt| receipt["user"] == of.id.as_str()).unwrap();
    (number(&found["delivered"]), number(&found["read"]))
}

#[tokio::test]
async fn the_sender_learns_what_was_delivered_and_read() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let (mut adas, mut brians) = (ada.connect().await, brian.connect().await);
    for n in 1..=3 {
        assert_eq!(adas.say(&chat, "hello").await, n);
    }
    brians.stream(&chat, 1, 3).await;
    brians.ack(&chat, 3);
    receipt(&mut adas, &chat, &brian, 3, 0).await;
    brians.read(&chat, 2);
    receipt(&mut adas, &chat, &brian, 3, 2).await;
    assert_eq!(asked(&ada, &chat, &brian).await, (3, 2));
    assert_eq!(asked(&brian, &chat, &brian).await, (3, 2));
}

#[tokio::test]
async fn reading_implies_delivery_and_is_clamped_to_the_head() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut adas = ada.connect().await;
    ada.say(&chat, "m1", "one").await;
    ada.say(&chat, "m2", "two").await;
    brian
        .post(&format!("/api/conversations/{chat}/read"), json!({"seq": 900}))
        .await
        .succeeds();
    receipt(&mut adas, &chat, &brian, 2, 2).await;
    brian
        .post(&format!("/api/conversations/{chat}/read"), json!({"seq": 1}))
        .await
        .succeeds();
    assert_eq!(asked(&ada, &chat, &brian).await, (2, 2), "cursors only grow");
    brian
        .post(&format!("/api/conversations/{chat}/read"), json!({}))
        .await
        .problem();
}

#[tokio::test]
async fn delivered_is_the_furthest_of_the_devices() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut adas = ada.connect().await;
    for n in 1..=4 {
        ada.say(&chat, &format!("m{n}"), "hello").await;
    }
    let (phone, laptop) = (brian.connect().await, brian.connect().await);
    phone.ack(&chat, 2);
    receipt(&mut adas, &chat, &brian, 2, 0).await;
    laptop.ack(&chat, 4);
    receipt(&mut adas, &chat, &brian, 4, 0).await;
    assert_eq!(asked(&ada, &chat, &brian).await, (4, 0));
}

#[tokio::test]
async fn receipts_are_coalesced_to_one_a_second() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut adas = ada.connect().await;
    for n in 1..=60 {
        ada.say(&chat, &format!("m{n}"), "hello").await;
    }
    let mut brians = brian.connect().await;
    brians.stream(&chat, 1, 60).await;
    let began = std::time::Instant::now();
    for seq in 1..=60 {
        brians.ack(&chat, seq);
        brians.read(&chat, seq);
    }
    receipt(&mut adas, &chat, &brian, 60, 60).await;
    let most = 2 + began.elapsed().as_secs() as usize;
    let others = adas.kept("receipt").len();
    assert!(others < most, "{} receipts in {:?}", others + 1, began.elapsed());
}

#[tokio::test]
async fn in_a_large_group_receipts_are_asked_for_and_not_pushed() {
    let server = Server::with(&[("LIMITS__RECEIPT_PUSH_MEMBERS", "2")]).await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let large = ada.group("Large", &[&brian, &carol]).await;
    let small = ada.group("Small", &[&brian]).await;
    let (mut adas, mut brians) = (ada.connect().await, brian.connect().await);
    adas.say(&large, "hello").await;
    adas.say(&small, "hello").await;
    brians.message(&large).await;
    brians.message(&small).await;
    brians.read(&large, 1);
    brians.read(&small, 1);
    receipt(&mut adas, &small, &brian, 1, 1).await;
    let pushed = adas.kept("receipt");
    assert!(
        pushed.iter().all(|frame| frame["conversation"] != large.as_str()),
        "{pushed:?}"
    );
    assert_eq!(asked(&carol, &large, &brian).await, (1, 1));
    assert_eq!(asked(&carol, &large, &carol).await.1, 0);
}

#[tokio::test]
async fn receipts_page_and_name_each_member_once() {
    let server = Server::start().await;
    let owner = server.user("Owner").await;
    let mut members = Vec::new();
    for n in 0..25 {
        members.push(server.user(&format!("Member{n}")).await);
    }
    let group = owner.group("Crowd", &members.iter().collect::<Vec<_>>()).await;
    owner.say(&group, "m", "hello").await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/conversations/{group}/receipts?limit=10{cursor}");
        let page = members[3].get(&path).await.is(200);
        seen.extend(items(&page).iter().map(|receipt| receipt["user"].to_string()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 26);
}

#[tokio::test]
async fn what_cannot_be_acknowledged_moves_nothing() {
    let server = Server::start().await;
    let [ada, brian, eve] = server.users(["Ada", "Brian", "Eve"]).await;
    let chat = ada.direct(&brian).await;
    let mut adas = ada.connect().await;
    adas.say(&chat, "hello").await;
    let mut eves = eve.connect().await;
    eves.ack(&chat, 1);
    eves.read(&chat, 1);
    eves.settle().await;
    eves.write(&json!({"t": "ack", "id": "bad", "conversation": chat}));
    let error = eves.expect("the error", |frame| frame["id"] == "bad").await;
    assert_eq!(
        (&error["t"], &error["code"]),
        (&json!("error"), &json!("invalid_field"))
    );
    assert_eq!(asked(&ada, &chat, &brian).await, (0, 0));
    let page = ada.get(&format!("/api/conversations/{chat}/receipts")).await.is(200);
    assert_eq!(items(&page).len(), 2);
    assert_eq!(page["next"], Value::Null);
    adas.has_no("receipt").await;
}
