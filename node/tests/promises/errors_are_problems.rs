//! Whatever goes wrong over HTTP is a problem document with a code, under a request id, and with the headers that HTTP asks for.

use serde_json::json;

use crate::support::{Client, Server};

#[tokio::test]
async fn what_does_not_exist_is_404_and_a_wrong_method_405_with_allow() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    for path in [
        "/",
        "/nowhere",
        "/api",
        "/api/",
        "/api/nowhere",
        "/api/users/",
        "/api//users/me",
        "/api/users/me/",
    ] {
        ada.get(path).await.refuses(404, "not_found");
    }
    for (method, path, allowed) in [
        ("DELETE", "/api/auth/login", vec!["POST"]),
        ("PUT", "/api/users/me", vec!["GET", "PATCH", "DELETE"]),
        ("PATCH", "/api/groups", vec!["POST"]),
        ("POST", "/api/devices", vec!["GET"]),
        ("BREW", "/api/users/me", vec!["GET"]),
    ] {
        let reply = ada.http().call(method, path, None).await;
        reply.refuses(405, "unsupported");
        let allow = reply.header("allow").expect("405 comes with Allow");
        let named: Vec<_> = allow.split(',').map(str::trim).collect();
        for method in allowed {
            assert!(named.contains(&method), "{method} {path}: Allow: {allow}");
        }
        assert!(!named.contains(&method));
    }
}

#[tokio::test]
async fn bodies_are_bounded_typed_and_parsed() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let (http, json_type) = (ada.http(), ("content-type", "application/json"));
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(400 * 1024));
    http.raw("POST", "/api/groups", &[json_type], large)
        .await
        .refuses(413, "too_large");
    let text = [("content-type", "text/plain")];
    http.raw("POST", "/api/groups", &text, "{\"name\": \"x\"}")
        .await
        .refuses(415, "unsupported");
    for broken in ["", "{", "nonsense", "{\"name\": \"x\"} trailing", "\u{0}", "[1, 2"] {
        http.raw("POST", "/api/groups", &[json_type], broken)
            .await
            .refuses(400, "bad_request");
    }
    let not_utf8: &[u8] = &[b'{', b'"', 0xff, b'"', b':', b'1', b'}'];
    http.raw("POST", "/api/groups", &[json_type], not_utf8)
        .await
        .refuses(400, "bad_request");
    let nested = "[".repeat(100_000);
    http.raw("POST", "/api/groups", &[json_type], nested)
        .await
        .refuses(400, "bad_request");
    let charset = [("content-type", "application/json; charset=utf-8")];
    http.raw(
        "POST",
        "/api/groups",
        &charset,
        "{\"name\": \"x\", \"members\": [], \"unknown\": 1}",
    )
    .await
    .is(201);
}

#[tokio::test]
async fn a_field_of_a_wrong_kind_is_named() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    for body in [json!({"name": 5, "members": []}), json!({"members": []})] {
        let problem = ada.post("/api/groups", body).await.refuses(422, "invalid_field");
        assert_eq!(problem["errors"][0]["field"], "name", "{problem}");
    }
    let send = json!({"to": {"conversation": 7}, "id": "x", "body": "x"});
    ada.post("/api/messages", send).await.problem();
    for nothing in [json!(null), json!([]), json!("text"), json!(5)] {
        ada.post("/api/groups", nothing).await.problem();
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_takes_the_clients() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let (first, second) = (ada.get("/api/users/me").await, ada.get("/api/nowhere").await);
    let ids = [first.header("x-request-id"), second.header("x-request-id")];
    assert!(ids.iter().all(|id| id.is_some_and(|id| !id.is_empty())), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
    let given = [("x-request-id", "my-trace-7")];
    let reply = ada.http().raw("GET", "/api/users/me", &given, "").await;
    assert_eq!(reply.header("x-request-id"), Some("my-trace-7"));
    let absurd = "y".repeat(4_000);
    let reply = ada
        .http()
        .raw("GET", "/api/users/me", &[("x-request-id", &absurd)], "")
        .await;
    assert_ne!(
        reply.header("x-request-id"),
        Some(absurd.as_str()),
        "an absurd id is not taken over"
    );
}

#[tokio::test]
async fn configured_origins_may_call_and_others_may_not() {
    let server = Server::with(&[("GATEWAY__CORS_ORIGINS", "https://app.example.org")]).await;
    let ada = server.user("Ada").await;
    let preflight = |origin: &'static str| {
        let http = server.anonymous();
        async move {
            let headers = [
                ("origin", origin),
                ("access-control-request-method", "PATCH"),
                ("access-control-request-headers", "authorization, content-type"),
            ];
            http.raw("OPTIONS", "/api/users/me", &headers, "").await
        }
    };
    let allowed = preflight("https://app.example.org").await;
    allowed.succeeds();
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        Some("https://app.example.org")
    );
    assert!(
        allowed
            .header("access-control-allow-methods")
            .unwrap()
            .contains("PATCH")
    );
    assert!(
        allowed
            .header("access-control-allow-headers")
            .unwrap()
            .contains("authorization")
    );
    let foreign = preflight("https://evil.example.org").await;
    assert_eq!(foreign.header("access-control-allow-origin"), None);

    let origin = [("origin", "https://app.example.org")];
    let reply = ada.http().raw("GET", "/api/users/me", &origin, "").await;
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://app.example.org")
    );
    let reply = ada.http().raw("GET", "/api/nowhere", &origin, "").await;
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://app.example.org")
    );
    let reply = ada
        .http()
        .raw("GET", "/api/users/me", &[("origin", "https://evil.example.org")], "")
        .await;
    assert_eq!(reply.header("access-control-allow-origin"), None);

    let foreign = ada
        .socket()
        .header("origin", "https://evil.example.org")
        .refused()
        .await;
    foreign.refuses(403, "forbidden");
    let mut own: Client = ada.socket().header("origin", "https://app.example.org").open().await;
    own.settle().await;
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let mut stream = tokio::net::TcpStream::connect(server.endpoint().public())
        .await
        .unwrap();
    let request = format!(
        "GET /api/users/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        ada.access
    );
    stream.write_all(request.repeat(3).as_bytes()).await.unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 8192];
    while seen.matches("HTTP/1.1 200").count() < 3 || !seen.ends_with('}') {
        let read = tokio::time::timeout(crate::support::client::PATIENCE, stream.read(&mut buffer));
        let length = read.await.expect("three answers on one connection").unwrap();
        assert_ne!(length, 0, "closed after: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}
