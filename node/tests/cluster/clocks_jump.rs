//! The wall clock of one node jumps, forward and back, by minutes and by hours, while people write to each other: who is connected
//! stays so, who signs in is served by all, and nothing that must be in order goes by it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::files_reach_their_readers::upload;
use crate::support::clock::Clock;
use crate::support::http::Http;
use crate::support::opening::Opening;
use crate::support::server::Server as Node;
use crate::support::{Server, User, field, number, text};
use crate::traffic::Traffic;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
/// How far the first node's clock is off, one after the other; in the end it is right again.
const JUMPS: [i64; 5] = [2 * HOUR, -2 * HOUR, 10 * MINUTE, -10 * MINUTE, 0];
const GROUPS: usize = 6;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has the first node's clock jump; returns when the node has noticed.
async fn jump(server: &Server, clock: &Clock, seconds: i64) {
    clock.set_off_by(seconds);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let off = metric(&server.nodes[0], "node_clock_offset_seconds").await;
        if (off - seconds as f64).abs() < 5.0 {
            return;
        }
        assert!(Instant::now() < deadline, "it is off by {off} s and not by {seconds}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn metric(node: &Node, name: &str) -> f64 {
    let page = String::from_utf8(node.admin().get("/metrics").await.body.to_vec()).unwrap();
    let figure = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    figure.map_or(0.0, |figure| figure.parse().unwrap())
}

fn through(node: &Node, user: &User) -> Http {
    Http::new(node.endpoint()).with_token(&user.access)
}

/// The same user, with new tokens from that node.
async fn refreshed(node: &Node, user: &User) -> User {
    let body = json!({"refresh_token": user.refresh});
    let answer = Http::new(node.endpoint()).post("/api/auth/refresh", body).await;
    user.with_tokens(&answer.is(200))
}

#[tokio::test]
async fn a_clock_that_jumps_loses_doubles_and_reorders_nothing_and_ends_no_socket() {
    let (server, clock) = Server::clocked().await;
    let traffic = Traffic::start(&server).await;
    let [ada, brian, _] = &traffic.users;
    let mut groups = Vec::new();
    for _ in 0..GROUPS {
        groups.push(ada.group("Whoever owns it", &[brian]).await);
    }
    let mut sockets = Vec::new();
    for node in &server.nodes {
        sockets.push(Opening::new(node.endpoint()).token(&brian.access).open().await);
    }
    for (turn, seconds) in JUMPS.into_iter().enumerate() {
        jump(&server, &clock, seconds).await;
        traffic.goes_on(15).await;
        for (n, group) in groups.iter().enumerate() {
            let message = json!({"to": {"conversation": group}, "id": format!("m{turn}"), "body": "what time is it?"});
            let node = &server.nodes[(n + turn) % server.nodes.len()];
            through(node, ada).post("/api/messages", message.clone()).await.is(201);
            through(&server.nodes[0], ada)
                .post("/api/messages", message)
                .await
                .is(200);
        }
        server.agree().await;
    }
    assert_eq!(traffic.refusals(), 0, "nobody who talks needs a clock");
    for group in &groups {
        for socket in &mut sockets {
            socket.stream(group, 1, JUMPS.len() as u64).await;
        }
        let history = brian.whole_history(group).await;
        let times: Vec<String> = field(&history, "at").iter().map(text).collect();
        assert!(times.is_sorted(), "a conversation's time goes on: {times:?}");
    }
    for node in &server.nodes {
        assert_eq!(
            metric(node, "cluster_lapses_total").await,
            0.0,
            "no lease goes by the wall clock"
        );
    }
    traffic.end().await;
}

#[tokio::test]
async fn whoever_signs_in_where_the_clock_is_wrong_is_served_by_all_until_logged_out() {
    let (server, clock) = Server::clocked().await;
    let brian = server.user("Brian").await;
    for (turn, seconds) in [HOUR, -HOUR, 0].into_iter().enumerate() {
        jump(&server, &clock, seconds).await;
        for (n, node) in server.nodes.iter().enumerate() {
            let mut user = User::sign_up(node.endpoint(), &format!("ada{turn}{n}")).await;
            for other in &server.nodes {
                through(other, &user).get("/api/users/me").await.is(200);
                user = refreshed(other, &user).await;
            }
            let mut socket = Opening::new(node.endpoint()).token(&user.access).open().await;
            for other in &server.nodes {
                user = refreshed(other, &user).await;
                let answer = socket.request(json!({"t": "reauth", "token": user.access})).await;
                assert_eq!(answer["t"], "ok", "{answer}");
            }
            through(node, &user)
                .post("/api/auth/logout", json!({}))
                .await
                .succeeds();
            assert_eq!(socket.closed().await, 4001);
            for other in &server.nodes {
                is_refused_by(other, &user).await;
            }
        }
    }
    through(&server.nodes[0], &brian).get("/api/users/me").await.is(200);
}

async fn is_refused_by(node: &Node, user: &User) {
    let deadline = Instant::now() + PATIENCE;
    while through(node, user).get("/api/users/me").await.status != 401 {
        assert!(Instant::now() < deadline, "a revoked token is taken");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn files_go_through_a_node_whose_clock_is_wrong() {
    let (server, clock) = Server::clocked().await;
    let ada = server.user("Ada").await;
    for seconds in [HOUR, -HOUR, 0] {
        jump(&server, &clock, seconds).await;
        let file = upload(&ada, "a.txt", "text/plain", b"some text").await;
        let found: Value = ada.get(&format!("/api/files/{file}")).await.is(200);
        assert_eq!(number(&found["size"]), 9);
    }
}
