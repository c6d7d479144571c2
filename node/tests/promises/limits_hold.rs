//! Every limit is a key of the configuration, and holds: what fits passes, what is one more is refused with the code that the
//! contract names, and the connection lives on where it should.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, User, number};

fn send(chat: &str, id: &str, body: &str) -> Value {
    json!({"t": "send", "to": {"conversation": chat}, "id": id, "body": body})
}

/// A frame must have room for a body and its data.
const FRAMES_OF_2_KIB: [(&str, &str); 3] = [
    ("LIMITS__FRAME_BYTES", "2048"),
    ("LIMITS__BODY_BYTES", "700"),
    ("LIMITS__DATA_BYTES", "700"),
];

async fn pair(settings: &[(&str, &str)]) -> (Server, User, User, String) {
    let server = Server::with(settings).await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    (server, ada, brian, chat)
}

#[tokio::test]
async fn texts_are_bounded_in_bytes() {
    let (_server, ada, _, chat) = pair(&[("LIMITS__BODY_BYTES", "100")]).await;
    let (fits, too_long) = ("ü".repeat(50), "ü".repeat(50) + "x");
    let mut socket = ada.connect().await;
    socket.ok(send(&chat, "a", &fits)).await;
    socket.refused(send(&chat, "b", &too_long), "too_large").await;
    let http = json!({"to": {"conversation": chat}, "id": "c", "body": too_long});
    ada.post("/api/messages", http).await.refuses(413, "too_large");
    let edit = json!({"t": "edit", "conversation": chat, "seq": 1, "body": too_long});
    socket.refused(edit, "too_large").await;
    let path = format!("/api/messages/{chat}/1");
    ada.patch(&path, json!({"body": too_long}))
        .await
        .refuses(413, "too_large");
    assert_eq!(ada.whole_history(&chat).await.len(), 1);
}

#[tokio::test]
async fn data_is_measured_as_compact_json_whichever_way_it_came() {
    let (_server, ada, _, chat) = pair(&[("LIMITS__DATA_BYTES", "20")]).await;
    // Compact: {"k":"ääääääää"} is 8 + 16 = 24 bytes of UTF-8, {"k":"ääääää"} is 20.
    let data = |letters: usize| json!({"k": "ä".repeat(letters)});
    for msgpack in [false, true] {
        let opening = ada.socket();
        let mut socket = if msgpack { opening.msgpack() } else { opening }.open().await;
        let frame = |id: &str, letters| json!({"t": "send", "to": {"conversation": chat}, "id": format!("{id}{msgpack}"), "data": data(letters)});
        socket.ok(frame("a", 6)).await;
        socket.refused(frame("b", 7), "too_large").await;
    }
    let spaced = format!(
        r#"{{"to": {{"conversation": "{chat}"}}, "id": "h", "data": {{ "k" :      "{}" }} }}"#,
        "ä".repeat(6)
    );
    let json = [("content-type", "application/json")];
    ada.http().raw("POST", "/api/messages", &json, spaced).await.is(201);
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_with_1009() {
    let (_server, ada, _, chat) = pair(&FRAMES_OF_2_KIB).await;
    let mut socket = ada.connect().await;
    let body = "x".repeat(700);
    socket.ok(send(&chat, "a", &body)).await;
    socket.write(&send(&chat, "b", &"x".repeat(2_048)));
    assert_eq!(socket.closed().await, 1009);
    assert_eq!(ada.whole_history(&chat).await.len(), 1);
}

#[tokio::test]
async fn attachments_are_counted() {
    let (_server, ada, _, chat) = pair(&[("LIMITS__ATTACHMENTS_PER_MESSAGE", "2")]).await;
    let mut files = Vec::new();
    for n in 0..3 {
        let name = format!("{n}.txt");
        files.push(crate::files_reach_their_readers::upload(&ada, &name, "text/plain", b"x").await);
    }
    let message = |id: &str, files: &[String]| json!({"to": {"conversation": chat}, "id": id, "attachments": files});
    ada.post("/api/messages", message("a", &files[..2])).await.is(201);
    ada.post("/api/messages", message("b", &files))
        .await
        .refuses(413, "too_large");
}

#[tokio::test]
async fn groups_are_bounded_in_name_and_members() {
    let limits = [("LIMITS__GROUP_NAME_CHARS", "5"), ("LIMITS__GROUP_MEMBERS", "3")];
    let server = Server::with(&limits).await;
    let [ada, b, c, d] = server.users(["Ada", "Bea", "Cid", "Dan"]).await;
    let create = |name: &str, members: &[&User]| {
        let members: Vec<_> = members.iter().map(|user| user.id.clone()).collect();
        json!({"name": name, "members": members})
    };
    ada.post("/api/groups", create("sechsé", &[]))
        .await
        .refuses(413, "too_large");
    ada.post("/api/groups", create("", &[]))
        .await
        .refuses(422, "invalid_field");
    ada.post("/api/groups", create("four", &[&b, &c, &d]))
        .await
        .refuses(413, "too_large");
    let group = ada.post("/api/groups", create("ünïcö", &[&b, &c])).await.is(201);
    let path = format!("/api/groups/{}", group["id"].as_str().unwrap());
    ada.patch(&path, json!({"name": "longer"}))
        .await
        .refuses(413, "too_large");
    let members = format!("{path}/members");
    ada.post(&members, json!({"users": [d.id]}))
        .await
        .refuses(413, "too_large");
    ada.delete(&format!("{members}/{}", c.id)).await.succeeds();
    ada.post(&members, json!({"users": [d.id]})).await.succeeds();
}

#[tokio::test]
async fn devices_and_watched_users_are_counted() {
    let limits = [("LIMITS__DEVICES_PER_USER", "2"), ("LIMITS__WATCH_USERS", "1")];
    let (_server, ada, brian, _) = pair(&limits).await;
    let mut first = ada.connect().await;
    let mut second = ada.connect().await;
    let mut third = ada.connect().await;
    assert_eq!(first.closed().await, 4009);
    second.settle().await;
    third.ok(json!({"t": "watch", "users": [brian.id]})).await;
    third
        .refused(json!({"t": "watch", "users": [brian.id, ada.id]}), "too_large")
        .await;
}

#[tokio::test]
async fn messages_are_limited_by_rate_with_a_time_to_retry() {
    let limits = [("LIMITS__MESSAGES_PER_SECOND", "1"), ("LIMITS__MESSAGES_BURST", "3")];
    let (_server, ada, brian, chat) = pair(&limits).await;
    let mut socket = ada.connect().await;
    for n in 0..3 {
        socket.ok(send(&chat, &format!("m{n}"), "fits")).await;
    }
    let refused = socket.refused(send(&chat, "m3", "too much"), "rate_limited").await;
    let wait = number(&refused["retry_after_ms"]);
    assert!((1..=3_000).contains(&wait), "{refused}");
    let http = json!({"to": {"conversation": chat}, "id": "h", "body": "too much"});
    let reply = ada.post("/api/messages", http).await;
    let problem = reply.refuses(429, "rate_limited");
    assert!(problem["retry_after_ms"].is_u64(), "{problem}");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(brian.say(&chat, "b", "others are free").await, 4);
    tokio::time::sleep(Duration::from_millis(wait + 200)).await;
    let sent = socket.ok(send(&chat, "m3", "later, with the same id")).await;
    assert_eq!(sent["duplicate"], Value::Null, "a refused send leaves its id free");
}

#[tokio::test]
async fn unanswered_sends_are_limited() {
    let (_server, ada, _, chat) = pair(&[("LIMITS__UNANSWERED_SENDS", "2")]).await;
    let mut socket = ada.connect().await;
    for n in 0..60 {
        socket.write(&send(&chat, &format!("m{n}"), "at once"));
    }
    let (mut sent, mut refused) = (0, 0);
    for _ in 0..60 {
        let answer = socket
            .expect("an answer", |frame| frame["t"] == "sent" || frame["t"] == "error")
            .await;
        if answer["t"] == "sent" {
            sent += 1;
        } else {
            assert_eq!(answer["code"], "rate_limited");
            refused += 1;
        }
    }
    assert!(sent >= 2 && refused >= 1, "{sent} sent, {refused} refused");
    assert_eq!(ada.whole_history(&chat).await.len(), sent);
    socket.ok(send(&chat, "after", "one at a time")).await;
}

#[tokio::test]
async fn frames_have_a_budget_and_those_who_ignore_it_are_closed_with_4029() {
    let limits = [("LIMITS__FRAMES_PER_SECOND", "5"), ("LIMITS__FRAMES_BURST", "10")];
    let (_server, ada, _, chat) = pair(&limits).await;
    let mut socket = ada.connect().await;
    for n in 0..30 {
        socket.write(&json!({"t": "ping", "id": format!("p{n}")}));
    }
    let refused = socket.expect_t("error").await;
    assert_eq!(refused["code"], "rate_limited");
    socket.ok(send(&chat, "free", "sends have a budget of their own")).await;
    let began = Instant::now();
    let flooding = async {
        loop {
            socket.write(&json!({"t": "typing", "conversation": chat}));
            tokio::time::sleep(Duration::from_millis(20)).await;
            if began.elapsed() > Duration::from_secs(30) {
                panic!("never closed");
            }
            if socket.has_ended() {
                return;
            }
        }
    };
    flooding.await;
    assert_eq!(socket.closed().await, 4029);
    assert!(
        began.elapsed() > Duration::from_secs(5),
        "closed after {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn sign_ups_and_log_ins_are_limited_by_address() {
    let limits = [("LIMITS__SIGNUPS_PER_MINUTE", "2"), ("LIMITS__LOGINS_PER_MINUTE", "3")];
    let server = Server::with(&limits).await;
    let [ada, _] = server.users(["Ada", "Brian"]).await;
    let body = json!({"email": "c@example.org", "name": "C", "password": "correct horse battery"});
    let reply = server.anonymous().post("/api/auth/signup", body).await;
    reply.refuses(429, "rate_limited");
    assert!(reply.header("retry-after").is_some());
    for _ in 0..3 {
        ada.try_log_in("wrong").await.refuses(401, "bad_credentials");
    }
    let reply = ada.try_log_in(&ada.password).await;
    reply.refuses(429, "rate_limited");
    assert!(reply.header("retry-after").is_some());
    ada.try_refresh().await.is(200);
}

#[tokio::test]
async fn connections_of_one_address_are_limited() {
    let (_server, ada, ..) = pair(&[("LIMITS__CONNECTIONS_PER_ADDRESS", "2")]).await;
    let first = ada.connect().await;
    let mut second = ada.connect().await;
    let reply = ada.socket().refused().await;
    reply.refuses(429, "rate_limited");
    assert!(reply.header("retry-after").is_some());
    ada.get("/api/users/me").await.is(200);
    first.close().await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ada.socket().opens().await {
        assert!(
            Instant::now() < deadline,
            "the place of a closed connection stays taken"
        );
    }
    second.settle().await;
}

#[tokio::test]
async fn connects_are_admitted_at_a_rate() {
    let (_server, ada, ..) = pair(&[("LIMITS__CONNECTS_PER_SECOND", "2")]).await;
    let began = Instant::now();
    let mut refused = 0;
    let openings = (0..20).map(|_| ada.socket().answer());
    for answer in futures_util::future::join_all(openings).await {
        if let Err(reply) = answer {
            reply.refuses(503, "unavailable");
            assert!(reply.header("retry-after").is_some());
            refused += 1;
        }
    }
    let took = began.elapsed();
    assert!(
        refused > 0 || took > Duration::from_secs(3),
        "20 at once in {took:?}, at 2 a second"
    );
}

#[tokio::test]
async fn ids_of_requests_are_bounded() {
    let (_server, ada, _, chat) = pair(&[]).await;
    let mut socket = ada.connect().await;
    let (fits, too_long) = ("i".repeat(64), "i".repeat(65));
    assert_eq!(socket.ok(send(&chat, &fits, "x")).await["id"], fits.as_str());
    socket.write(&send(&chat, &too_long, "x"));
    assert_eq!(socket.expect_t("error").await["code"], "invalid_field");
    let http = json!({"to": {"conversation": chat}, "id": too_long, "body": "x"});
    ada.post("/api/messages", http).await.refuses(422, "invalid_field");
    socket
        .refused(
            json!({"t": "send", "to": {"conversation": chat}, "id": "", "body": "x"}),
            "invalid_field",
        )
        .await;
}

#[tokio::test]
async fn a_small_outbound_queue_only_slows_a_reader_down() {
    let (_server, ada, brian, chat) = pair(&[("LIMITS__OUTBOUND_QUEUE_BYTES", "65536")]).await;
    let (mut adas, mut brians) = (ada.connect().await, brian.socket().receive_buffer(4_096).open().await);
    brians.stop_reading();
    adas.pour(&chat, 1..=400, &"x".repeat(16_000)).await;
    brians.go_on_reading();
    assert_eq!(brians.stream(&chat, 1, 400).await.len(), 400);
}
