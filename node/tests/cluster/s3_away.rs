//! While S3 is away, files fail and text goes on; when it is back, so are the files.

use serde_json::json;

use crate::files_reach_their_readers::{announce, upload};
use crate::services::{Service, fresh, make_bucket};
use crate::support::http::{Http, at_url};
use crate::support::{Server, User, text};
use crate::traffic::{Traffic, is_refused_for_now};

#[tokio::test]
async fn an_s3_that_is_killed_or_stands_still_is_missed_by_files_alone() {
    let (s3, bucket) = (Service::start("s3").await, fresh("files"));
    make_bucket(&s3.address(), &bucket).await;
    let server = Server::with(&[("S3__ENDPOINT", &s3.address()), ("S3__BUCKET", &bucket)]).await;
    let traffic = Traffic::start(&server).await;
    let [ada, ..] = &traffic.users;
    let kept = upload(ada, "before.txt", "text/plain", b"before").await;
    let under_way = announce(ada, "under way.txt", "text/plain", 5, None).await;
    let complete = format!("/api/files/{}/complete", text(&under_way["id"]));
    traffic.goes_on(20).await;

    s3.kill().await;
    is_refused_for_now(&ada.post(&complete, json!({})).await);
    traffic.goes_on(20).await;
    s3.start_again().await;
    read_back(&server, ada, &kept, b"before").await;

    s3.pause();
    is_refused_for_now(&ada.post(&complete, json!({})).await);
    traffic.goes_on(20).await;
    s3.resume();
    let after = upload(ada, "after.txt", "text/plain", b"after").await;
    read_back(&server, ada, &after, b"after").await;
    assert_eq!(traffic.refusals(), 0, "text needs no files");
    traffic.end().await;
}

async fn read_back(server: &Server, owner: &User, id: &str, content: &[u8]) {
    for node in &server.nodes {
        let http = Http::new(node.endpoint()).with_token(&owner.access);
        let file = http.get(&format!("/api/files/{id}")).await.is(200);
        let got = at_url("GET", &text(&file["url"]), &[], "").await;
        assert_eq!((got.status, &got.body[..]), (200, content));
    }
}
