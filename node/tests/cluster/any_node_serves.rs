//! Any node serves anybody: what one does is seen through every other, at once or as soon as the word has travelled.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cluster::nodes_seen_by;
use crate::support::http::Http;
use crate::support::opening::Opening;
use crate::support::{Server, User, text};

/// How long the word of a revoked login may take to travel, on a machine that does much else; how long it takes is measured where
/// the adapter is tested.
const WORD: Duration = Duration::from_secs(60);

fn through(server: &Server, node: usize, user: &User) -> Http {
    Http::new(server.nodes[node].endpoint()).with_token(&user.access)
}

#[tokio::test]
async fn a_device_resumes_through_another_node() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut reader = brian.connect().await;
    ada.say(&chat, "one", "1").await;
    assert_eq!(reader.message(&chat).await["seq"], 1);
    reader.ack(&chat, 1);
    reader.settle().await;
    let device = reader.device.clone();
    reader.close().await;
    for n in 2..=5 {
        ada.say(&chat, &format!("m{n}"), "missed").await;
    }
    for node in &server.nodes {
        let mut again = Opening::new(node.endpoint())
            .token(&brian.access)
            .device(&device)
            .open()
            .await;
        again.stream(&chat, 2, 5).await;
        again.close().await;
    }
}

#[tokio::test]
async fn a_repeat_through_another_node_makes_no_second_message() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let body = json!({"to": {"conversation": chat}, "id": "one", "body": "hello"});
    let mut seqs = Vec::new();
    for node in 0..server.nodes.len() {
        let sent = through(&server, node, &ada).post("/api/messages", body.clone()).await;
        seqs.push(sent.succeeds()["seq"].clone());
    }
    assert_eq!(seqs, vec![json!(1); 3]);
    assert_eq!(brian.whole_history(&chat).await.len(), 1);
}

#[tokio::test]
async fn a_revoked_login_is_refused_by_every_node() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let mut sockets = Vec::new();
    for node in &server.nodes {
        sockets.push(Opening::new(node.endpoint()).token(&ada.access).open().await);
    }
    ada.post("/api/auth/logout", json!({})).await.succeeds();
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, 4001);
    }
    for node in 0..server.nodes.len() {
        let deadline = Instant::now() + WORD;
        while through(&server, node, &ada).get("/api/users/me").await.status != 401 {
            assert!(Instant::now() < deadline, "node{node} still takes a revoked token");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn every_node_sees_the_same_cluster_and_the_same_owners() {
    let server = Server::start().await;
    let mut shards = Vec::new();
    for node in &server.nodes {
        let seen = nodes_seen_by(node).await;
        let names: Vec<_> = seen.iter().map(|node| text(&node["node"])).collect();
        assert_eq!(names, ["node0", "node1", "node2"]);
        let token = std::fs::read_to_string(node.data_dir().join("admin-token")).unwrap();
        let owners: Value = node.admin().with_token(token.trim()).get("/admin/shards").await.is(200);
        shards.push(owners);
    }
    assert_eq!(shards[0], shards[1]);
    assert_eq!(shards[1], shards[2]);
}

#[tokio::test]
async fn a_client_is_told_where_its_session_is() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let homes = async || {
        let mut homes = Vec::new();
        for node in 0..server.nodes.len() {
            let answer = through(&server, node, &ada).get("/api/connect").await.is(200);
            assert!(text(&answer["url"]).ends_with("/ws"), "{answer}");
            homes.push(text(&answer["node"]));
        }
        homes
    };
    let homes = homes().await;
    assert!(homes.iter().all(|home| *home == homes[0]), "{homes:?}");
}
