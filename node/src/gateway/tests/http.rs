//! What every route has in common.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_a_problem_document() {
    let front = Front::open().await;
    let cases = [
        ("GET /nowhere", "", 404, "not_found"),
        ("GET /api/users/%ff", "", 404, "not_found"),
        ("PUT /api/auth/login", "", 405, "unsupported"),
        ("GET /api/users/me", "", 401, "unauthorized"),
        (
            "GET /api/users/me\nauthorization: Bearer nonsense",
            "",
            401,
            "unauthorized",
        ),
        ("POST /api/auth/login", "{", 400, "bad_request"),
        ("POST /api/auth/login\ncontent-type: text/plain", "", 415, "unsupported"),
        ("GET /api/users?query=%zz", "", 400, "bad_request"),
    ];
    for (head, body, status, code) in cases {
        let answer = front.request(head, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_reaches_a_client_that_still_writes() {
    let front = Front::open().await;
    let large = format!("{{\"email\":\"{}\"}}", "x".repeat(8 << 20));
    for (head, status, code) in [
        ("POST /api/auth/login", 413, "too_large"),
        ("POST /api/groups", 401, "unauthorized"),
        ("POST /nowhere", 404, "not_found"),
        ("PUT /api/auth/login", 405, "unsupported"),
    ] {
        let answer = front.request(head, &large).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_not_there_names_those_that_are() {
    let front = Front::open().await;
    let answer = front.request("PATCH /api/auth/login", "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "OPTIONS, POST"));
    assert_eq!(front.request("POST /ws", "").await.header("allow"), "GET");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_kept_when_it_is_harmless() {
    let front = Front::open().await;
    let id = front.request("GET /nowhere\nx-request-id: abc-1.2_3", "").await;
    assert_eq!(id.header("x-request-id"), "abc-1.2_3");
    for wild in ["a b", "<script>", &"x".repeat(65)] {
        let made = front.request(&format!("GET /nowhere\nx-request-id: {wild}"), "").await;
        assert_ne!(made.header("x-request-id"), wild);
        assert_eq!(made.header("x-request-id").len(), 32);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_configured_origins_may_read_answers() {
    let front = Front::open().await;
    let preflight =
        |origin: &str| format!("OPTIONS /api/auth/login\norigin: {origin}\naccess-control-request-method: POST");
    let allowed = front.request(&preflight("https://app.example.org"), "").await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example.org");
    assert!(allowed.header("access-control-allow-methods").contains("POST"));
    assert!(allowed.header("access-control-allow-headers").contains("authorization"));
    let foreign = front.request(&preflight("https://evil.example.org"), "").await;
    assert_eq!(foreign.header("access-control-allow-origin"), "");
    assert_eq!(foreign.header("access-control-allow-methods"), "");
    let problem = front.request("GET /nowhere\norigin: https://app.example.org", "").await;
    assert_eq!(problem.header("access-control-allow-origin"), "https://app.example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_many_requests() {
    let front = Front::open().await;
    let mut stream = front.connect().await;
    for _ in 0..3 {
        stream
            .write_all(b"GET /nowhere HTTP/1.1\r\nhost: chat.test\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read_answer(&mut stream).await.code(), "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body() {
    let front = Front::open().await;
    let token = front.sign_up("ada").await;
    let get = front
        .request(&format!("GET /api/users/me\nauthorization: Bearer {token}"), "")
        .await;
    let head = front
        .request(&format!("HEAD /api/users/me\nauthorization: Bearer {token}"), "")
        .await;
    assert_eq!((get.status, head.status), (200, 200));
    assert_eq!(get.header("content-length"), head.header("content-length"));
    assert!(!get.body.is_empty() && head.body.is_empty());
}
