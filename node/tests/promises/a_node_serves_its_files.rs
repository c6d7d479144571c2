//! A node that keeps contents in its own directory serves them as RFC 9110 says, and so that a browser never runs them.

use crate::files_reach_their_readers::{announce, upload};
use crate::support::http::at_url;
use crate::support::{Server, text};

#[tokio::test]
async fn ranges_and_conditions_are_served_as_rfc_9110_says() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let id = upload(&ada, "digits.txt", "text/plain", b"0123456789").await;
    let url = text(&ada.get(&format!("/api/files/{id}")).await.is(200)["url"]);
    let outside = at_url("GET", &url, &[("range", "bytes=10-")], "").await;
    assert_eq!(outside.status, 416);
    assert_eq!(outside.header("content-range"), Some("bytes */10"));
    let nonsense = at_url("GET", &url, &[("range", "lines=1-2")], "").await;
    assert_eq!((nonsense.status, nonsense.body.len()), (200, 10));
    assert_eq!(nonsense.header("x-content-type-options"), Some("nosniff"));
    let etag = nonsense.header("etag").unwrap().to_owned();
    let cached = at_url("GET", &url, &[("if-none-match", &etag)], "").await;
    assert_eq!((cached.status, cached.body.len()), (304, 0));
    let head = at_url("HEAD", &url, &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("10"));
}

#[tokio::test]
async fn what_is_refused_is_a_problem() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let announced = announce(&ada, "b.txt", "text/plain", 4, None).await;
    let write = text(&announced["upload"]["url"]);
    at_url("PUT", &write, &[], "more than the four bytes").await.problem();
}
