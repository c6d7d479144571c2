//! Malformed and oversized input of every kind is answered or cut off, and the server stays alive and sane.
//!
//! Fuzzed with a seed that is printed: a fixed one, so that every run holds the same ground, and a fresh one, so that runs find
//! new ground. After each a bystander's conversation must go on, exactly as before.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Client, Seed, Server, User};

/// Something that must go on undisturbed whatever else happens.
struct Bystanders {
    ada: Client,
    brian: Client,
    chat: String,
    said: u64,
}

impl Bystanders {
    async fn on(server: &Server) -> Self {
        let [ada, brian] = server.users(["Bystander", "Friend"]).await;
        let chat = ada.direct(&brian).await;
        Self {
            ada: ada.connect().await,
            brian: brian.connect().await,
            chat,
            said: 0,
        }
    }

    async fn go_on(&mut self) {
        self.said += 1;
        assert_eq!(self.ada.say(&self.chat, "still here").await, self.said);
        assert_eq!(self.brian.message(&self.chat).await["seq"], self.said);
    }
}

fn nonsense(seed: &mut Seed, depth: usize) -> Value {
    let words = [
        "",
        "x",
        "send",
        "null",
        "../../etc/passwd",
        "\u{0}",
        "🦜\u{202e}",
        "0199aa00-0000-7000-8000-000000000000",
    ];
    match seed.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(seed.chance(50)),
        2 => json!(seed.next() as i64),
        3 => json!(f64::from_bits(seed.next())),
        4 => json!(seed.pick(&words)),
        5 => json!("y".repeat(seed.below(3_000))),
        6 => (0..seed.below(4)).map(|_| nonsense(seed, depth - 1)).collect(),
        _ => {
            let mut object = serde_json::Map::new();
            for _ in 0..seed.below(4) {
                object.insert(seed.pick(&words).to_string(), nonsense(seed, depth - 1));
            }
            Value::Object(object)
        }
    }
}

/// A frame that is nearly right: the fields of real ones, some of them with nonsense in them.
fn nearly_a_frame(seed: &mut Seed, chat: &str) -> Value {
    let kinds = [
        "send", "ack", "read", "typing", "history", "edit", "delete", "react", "watch", "reauth", "ping", "Send", "",
    ];
    let mut frame = json!({
        "t": seed.pick(&kinds), "id": "f", "to": {"conversation": chat}, "conversation": chat, "seq": 1, "body": "text",
        "emoji": "x", "users": [], "token": "t", "after": 0,
    });
    let fields: Vec<String> = frame.as_object().unwrap().keys().cloned().collect();
    for _ in 0..=seed.below(3) {
        let field = seed.pick(&fields).clone();
        if seed.chance(25) {
            frame.as_object_mut().unwrap().remove(&field);
        } else {
            frame[field] = nonsense(seed, 3);
        }
    }
    frame
}

async fn fuzz_frames(mut seed: Seed) {
    let limits = [
        ("LIMITS__FRAMES_PER_SECOND", "100000"),
        ("LIMITS__FRAMES_BURST", "100000"),
    ];
    let server = Server::with(&limits).await;
    let mut bystanders = Bystanders::on(&server).await;
    let [mallory, peer] = server.users(["Mallory", "Peer"]).await;
    let chat = mallory.direct(&peer).await;
    for round in 0..20 {
        let opening = mallory.socket();
        let opening = if round % 2 == 0 { opening } else { opening.msgpack() };
        let mut client = opening.open().await;
        for _ in 0..30 {
            match seed.below(10) {
                0 => client.write(&nonsense(&mut seed, 4)),
                1 => {
                    let garbage = printable(&mut seed);
                    client.write_frame(if round % 2 == 0 { 0x81 } else { 0x82 }, &garbage);
                }
                _ => client.write(&nearly_a_frame(&mut seed, &chat)),
            }
        }
        let pong = json!({"t": "ping", "id": "the end"});
        client.write(&pong);
        client
            .expect("the pong after it all", |frame| {
                frame["t"] == "pong" && frame["id"] == "the end"
            })
            .await;
        for error in client.kept("error") {
            let code = error["code"].as_str().unwrap();
            assert!(
                crate::support::http::CODES.contains(&code) && code != "internal",
                "{error}"
            );
        }
        bystanders.go_on().await;
    }
}

/// Text that is UTF-8 but no JSON, at times nearly MessagePack.
fn printable(seed: &mut Seed) -> Vec<u8> {
    (0..seed.below(200))
        .map(|_| 0x20 + (seed.next() % 0x5f) as u8)
        .collect()
}

#[tokio::test]
async fn wrong_frames_are_errors_and_never_a_disconnect_with_a_fixed_seed() {
    fuzz_frames(Seed::fixed(20_261_121)).await;
}

#[tokio::test]
async fn wrong_frames_are_errors_and_never_a_disconnect_with_a_fresh_seed() {
    fuzz_frames(Seed::fresh()).await;
}

async fn fuzz_bytes(mut seed: Seed) {
    let server = Server::start().await;
    let mut bystanders = Bystanders::on(&server).await;
    let mallory = server.user("Mallory").await;
    for round in 0..30 {
        let client = mallory.connect().await;
        for _ in 0..5 {
            let length = 1 + seed.below(300);
            let bytes = seed.bytes(length);
            client.write_raw(bytes);
        }
        // Whatever the bytes meant, a socket whose client says goodbye and hangs up must not linger.
        client.write_frame(0x88, &1000u16.to_be_bytes());
        drop(client);
        if round % 5 == 0 {
            bystanders.go_on().await;
        }
    }
    bystanders.go_on().await;
}

#[tokio::test]
async fn raw_bytes_on_a_socket_are_survived_with_a_fixed_seed() {
    fuzz_bytes(Seed::fixed(7)).await;
}

#[tokio::test]
async fn raw_bytes_on_a_socket_are_survived_with_a_fresh_seed() {
    fuzz_bytes(Seed::fresh()).await;
}

#[tokio::test]
async fn each_breach_of_rfc_6455_is_closed_with_its_code() {
    let server = Server::start().await;
    let mut bystanders = Bystanders::on(&server).await;
    let mallory = server.user("Mallory").await;
    let ping = br#"{"t":"ping"}"#;
    let masked = |first: u8, length: &[u8]| [&[first][..], length, &[0; 4]].concat();
    let unmasked = [&[0x81, ping.len() as u8][..], ping].concat();
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("an unmasked frame", unmasked, &[1002, 4000]),
        ("a reserved bit", masked(0xc1, &[0x80]), &[1002, 4000]),
        ("a reserved opcode", masked(0x83, &[0x80]), &[1002, 4000]),
        ("a reserved control opcode", masked(0x8b, &[0x80]), &[1002, 4000]),
        ("a fragmented ping", masked(0x09, &[0x80]), &[1002, 4000]),
        (
            "a ping of 126 bytes",
            [masked(0x89, &[0xfe, 0, 126]), vec![0; 126]].concat(),
            &[1002, 4000],
        ),
        (
            "a close of one byte",
            [masked(0x88, &[0x81]), vec![3]].concat(),
            &[1002, 4000],
        ),
        ("a continuation of nothing", masked(0x80, &[0x80]), &[1002, 4000]),
        (
            "a fragment",
            [masked(0x01, &[0x81]), vec![b'{']].concat(),
            &[1002, 1009, 4000],
        ),
        (
            "a frame of 60 MiB announced",
            masked(0x82, &[0xff, 0, 0, 0, 0, 3, 0xc0, 0, 0]),
            &[1003, 1009],
        ),
        ("a length beyond 2^63", masked(0x81, &[0xff; 9]), &[1002, 1009, 4000]),
        (
            "text that is not UTF-8",
            [masked(0x81, &[0x82]), vec![0xc3, 0x28]].concat(),
            &[1007],
        ),
        (
            "binary under JSON",
            [masked(0x82, &[0x81]), vec![0x80]].concat(),
            &[1003],
        ),
    ];
    for (what, bytes, codes) in cases {
        let mut client = mallory.connect().await;
        client.write_raw(bytes);
        let code = client.closed().await;
        assert!(
            codes.contains(&code),
            "{what}: closed with {code}, not one of {codes:?}"
        );
        bystanders.go_on().await;
    }
    let mut client = mallory.socket().msgpack().open().await;
    client.write_frame(0x81, ping);
    assert_eq!(client.closed().await, 1003, "text under MessagePack");
}

#[tokio::test]
async fn an_announced_but_unsent_frame_costs_no_memory() {
    let server = Server::start().await;
    let mallory = server.user("Mallory").await;
    let before = server.resident_kib();
    let mut clients = Vec::new();
    for _ in 0..9 {
        let client = mallory.connect().await;
        // 60,000 bytes are allowed, announced, and never sent.
        client.write_raw(vec![0x81, 0xfe, 0xea, 0x60, 0, 0, 0, 0, b'x']);
        clients.push(client);
    }
    mallory.get("/api/users/me").await.is(200);
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

async fn fuzz_http(mut seed: Seed) {
    let server = Server::start().await;
    let mut bystanders = Bystanders::on(&server).await;
    let [mallory, peer] = server.users(["Mallory", "Peer"]).await;
    let chat = mallory.direct(&peer).await;
    for round in 0..300 {
        let (method, path) = route(&mut seed, &mallory, &chat);
        let body = if seed.chance(30) {
            String::from_utf8(printable(&mut seed)).unwrap()
        } else {
            nearly_a_body(&mut seed, &chat).to_string()
        };
        let headers = [("content-type", "application/json")];
        let reply = mallory.http().raw(method, &path, &headers, body).await;
        if reply.status >= 400 {
            let problem = reply.problem();
            assert_ne!(problem["code"], "internal", "{method} {path}");
            assert!(reply.header("x-request-id").is_some());
        }
        if round % 50 == 0 {
            bystanders.go_on().await;
        }
    }
}

/// Some route, at times with nonsense where an id or a number stood. None of them ends the login.
fn route(seed: &mut Seed, mallory: &User, chat: &str) -> (&'static str, String) {
    let routes = [
        ("POST", "/api/messages"),
        ("POST", "/api/groups"),
        ("POST", "/api/conversations"),
        ("POST", "/api/files"),
        ("PATCH", "/api/users/me"),
        ("GET", "/api/users?query=Q&limit=Q&cursor=Q"),
        ("GET", "/api/users/ID"),
        ("GET", "/api/conversations?limit=Q&cursor=Q"),
        ("GET", "/api/messages/ID?before=Q&limit=Q"),
        ("PATCH", "/api/messages/ID/Q"),
        ("DELETE", "/api/messages/ID/Q"),
        ("PUT", "/api/messages/ID/1/reactions/Q"),
        ("POST", "/api/conversations/ID/read"),
        ("PATCH", "/api/conversations/ID"),
        ("GET", "/api/conversations/ID/receipts?cursor=Q"),
        ("GET", "/api/groups/ID"),
        ("POST", "/api/groups/ID/members"),
        ("POST", "/api/files/ID/complete"),
        ("GET", "/api/files/ID"),
        ("POST", "/api/auth/login"),
        ("POST", "/api/auth/refresh"),
        ("POST", "/api/auth/signup"),
        ("DELETE", "/api/devices/ID"),
    ];
    let odd = [
        "",
        "1",
        "-1",
        "99999999999999999999",
        "%00",
        "%ff%fe",
        "..%2f..%2f",
        "%F0%9F%A6%9C",
        "a%20b",
        "%",
        "%zz",
        "me",
    ];
    let ids = [chat, &mallory.id, "0199aa00-0000-7000-8000-000000000000", "nonsense"];
    let (method, template) = *seed.pick(&routes);
    let mut path = template.to_owned();
    while path.contains('Q') {
        path = path.replacen('Q', seed.pick::<&str>(&odd), 1);
    }
    let id = if seed.chance(80) {
        *seed.pick(&ids)
    } else {
        *seed.pick(&odd)
    };
    (method, path.replace("ID", id))
}

fn nearly_a_body(seed: &mut Seed, chat: &str) -> Value {
    let mut body = json!({
        "to": {"conversation": chat}, "id": "x", "body": "text", "data": {}, "attachments": [], "reply_to": 1, "mentions": [],
        "name": "n", "members": [], "users": [], "user": chat, "size": 10, "type": "text/plain", "email": "m@example.org",
        "password": "correct horse battery", "username": "m", "refresh_token": "x", "seq": 1, "parts": [], "pinned": true,
    });
    let fields: Vec<String> = body.as_object().unwrap().keys().cloned().collect();
    for _ in 0..=seed.below(6) {
        let field = seed.pick(&fields).clone();
        body[field] = nonsense(seed, 3);
    }
    body
}

#[tokio::test]
async fn wrong_requests_are_problems_with_a_fixed_seed() {
    fuzz_http(Seed::fixed(11)).await;
}

#[tokio::test]
async fn wrong_requests_are_problems_with_a_fresh_seed() {
    fuzz_http(Seed::fresh()).await;
}

#[tokio::test]
async fn what_is_no_http_is_cut_off() {
    let server = Server::start().await;
    let mut bystanders = Bystanders::on(&server).await;
    let mut seed = Seed::fresh();
    let mut openings: Vec<Vec<u8>> = vec![
        b"nonsense\r\n\r\n".to_vec(),
        b"GET /ws HTTP/9.9\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"POST /api/groups HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n".to_vec(),
        b"POST /api/groups HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde".to_vec(),
        [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 2 * 1024 * 1024]].concat(),
    ];
    for _ in 0..10 {
        openings.push(seed.bytes(200));
    }
    for opening in openings {
        let mut stream = TcpStream::connect(server.endpoint().public()).await.unwrap();
        stream.write_all(&opening).await.ok();
        stream.shutdown().await.ok();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(
            ended.is_ok(),
            "kept open after {:?}",
            String::from_utf8_lossy(&opening[..opening.len().min(60)])
        );
        let status = String::from_utf8_lossy(&answer);
        assert!(status.is_empty() || status.starts_with("HTTP/1."), "{status}");
        assert!(!status.starts_with("HTTP/1.1 5"), "{status}");
    }
    bystanders.go_on().await;
}
