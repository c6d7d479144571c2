//! A node that stands still until its lease has run out, and then goes on as if nothing had happened: what it does counts for
//! nothing, its clients are sent elsewhere, and it starts anew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cluster::agree;
use crate::support::http::Http;
use crate::support::opening::Opening;
use crate::support::{Server, number, places, text};

const STANDS_STILL: usize = 1;
const IDS: usize = 10;
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(3);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client that takes no notice is left alone.
const DRAIN: &[(&str, &str)] = &[("DRAIN_SECONDS", "4")];

#[tokio::test]
async fn what_a_node_does_after_its_lease_ran_out_counts_for_nothing() {
    let server = Server::with_addresses(DRAIN).await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chats = [
        ada.direct(&brian).await,
        ada.group("One", &[&brian]).await,
        ada.group("Two", &[&brian]).await,
        ada.group("Three", &[&brian]).await,
    ];
    let (zombie, living) = (&server.nodes[STANDS_STILL], [&server.nodes[0], &server.nodes[2]]);
    let mut socket = Opening::new(zombie.endpoint()).token(&ada.access).open().await;
    let mut stubborn = Opening::new(zombie.endpoint()).token(&brian.access).open().await;
    for chat in &chats {
        socket.say(chat, "before").await;
    }
    zombie.signal("-STOP");
    // What lies in its socket when it goes on.
    let ids = || (0..IDS).map(|n| format!("m{n}"));
    for (chat, id) in chats.iter().flat_map(|chat| ids().map(move |id| (chat, id))) {
        socket.write_send(json!({"conversation": chat}), &id, "twice");
    }
    agree(&living).await;
    // The client tries elsewhere, with the same ids.
    let elsewhere = Http::new(living[0].endpoint()).with_token(&ada.access);
    let mut answered = BTreeMap::new();
    for (chat, id) in chats.iter().flat_map(|chat| ids().map(move |id| (chat, id))) {
        let body = json!({"to": {"conversation": chat}, "id": id, "body": "twice"});
        // It may have got as far as the log before it stood still.
        let seq = number(&elsewhere.post("/api/messages", body).await.succeeds()["seq"]);
        answered.insert((chat.clone(), id), seq);
    }
    zombie.signal("-CONT");

    for _ in 0..answered.len() {
        let is_answer = |frame: &Value| frame["t"] == "sent" || frame["t"] == "error";
        let answer = socket.expect("an answer", is_answer).await;
        if answer["t"] == "error" {
            // It may have given up what lay in it when its time had come; then it says so.
            assert!(
                ["unavailable", "timeout"].contains(&text(&answer["code"]).as_str()),
                "{answer}"
            );
            continue;
        }
        let key = (text(&answer["conversation"]), text(&answer["id"]));
        assert_eq!(answered.get(&key), Some(&number(&answer["seq"])), "{answer}");
    }
    let goaway = stubborn.expect_t("goaway").await;
    assert_eq!(goaway["reason"], "rebalance");
    let others = living.map(|node| format!("ws://{}/ws", node.endpoint().public()));
    assert!(others.contains(&text(&goaway["url"])), "{goaway}");
    assert_eq!(stubborn.closed().await, 1001);
    assert_eq!(socket.closed().await, 1001);
    server.agree().await;
    for chat in &chats {
        let history: BTreeMap<_, _> = brian.whole_history(chat).await.iter().map(places).collect();
        assert!(history.keys().copied().eq(1..=1 + IDS as u64), "{history:?}");
        for id in ids() {
            let seq = answered[&(chat.clone(), id.clone())];
            assert_eq!(history[&seq], (ada.id.clone(), id));
        }
    }
}

#[tokio::test]
async fn a_node_that_stood_still_is_not_ready_until_it_has_joined_anew() {
    let server = Server::with_addresses(DRAIN).await;
    let zombie = &server.nodes[STANDS_STILL];
    zombie.signal("-STOP");
    agree(&[&server.nodes[0], &server.nodes[2]]).await;
    zombie.signal("-CONT");
    let deadline = Instant::now() + PATIENCE;
    while !zombie.log().contains("lease ran out") {
        assert!(Instant::now() < deadline, "it does not notice that its lease ran out");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Once more in the midst of its coming back, with a lease that runs out or none yet.
    zombie.signal("-STOP");
    tokio::time::sleep(LONGER_THAN_A_LEASE).await;
    agree(&[&server.nodes[0], &server.nodes[2]]).await;
    zombie.signal("-CONT");
    server.agree().await;
    let deadline = Instant::now() + PATIENCE;
    while !zombie.log().contains("in the cluster again") || zombie.admin().get("/readyz").await.status != 200 {
        assert!(Instant::now() < deadline, "it does not say that it is up again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ada = server.user("Ada").await;
    Opening::new(zombie.endpoint())
        .token(&ada.access)
        .open()
        .await
        .close()
        .await;
}
