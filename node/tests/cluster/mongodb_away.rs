//! While MongoDB is away, conversations go on; what needs the store fails with a time to try again; when it is back, all is there.

use serde_json::json;

use crate::services::Service;
use crate::support::Server;
use crate::support::http::Reply;
use crate::traffic::{Traffic, is_refused_for_now};

/// Somebody who is not known yet cannot be made known.
async fn sign_up(server: &Server, name: &str) -> Reply {
    let email = format!("{name}@example.org");
    let body = json!({"email": email, "name": name, "username": name, "password": "correct horse"});
    server.anonymous().post("/api/auth/signup", body).await
}

/// Asks until it is done, now or by one of the requests whose outcome nobody knew.
async fn becomes_known(server: &Server, name: &str) {
    loop {
        let reply = sign_up(server, name).await;
        if reply.status == 201 {
            return;
        }
        if reply.status == 409 {
            reply.refuses(409, "email_taken");
            return;
        }
        is_refused_for_now(&reply);
    }
}

#[tokio::test]
async fn a_mongodb_that_is_killed_or_stands_still_is_not_missed_by_who_talks() {
    let mongodb = Service::start("mongodb").await;
    let server = Server::with(&[
        ("MONGODB__URL", &mongodb.address()),
        // Of a server that stands still nothing is known but that it does not answer.
        ("MONGODB__COMMAND_TIMEOUT_MS", "3000"),
        ("MONGODB__SELECTION_TIMEOUT_MS", "3000"),
        ("MONGODB__CONNECT_TIMEOUT_MS", "3000"),
    ])
    .await;
    let traffic = Traffic::start(&server).await;
    traffic.goes_on(20).await;

    mongodb.kill().await;
    traffic.goes_on(20).await;
    is_refused_for_now(&sign_up(&server, "dora").await);
    traffic.goes_on(20).await;
    assert_eq!(traffic.refusals(), 0, "the log takes what the store cannot");
    mongodb.start_again().await;
    traffic.goes_on(20).await;
    becomes_known(&server, "dora").await;

    mongodb.pause();
    traffic.goes_on(20).await;
    is_refused_for_now(&sign_up(&server, "emil").await);
    traffic.goes_on(20).await;
    mongodb.resume();
    becomes_known(&server, "emil").await;
    traffic.goes_on(20).await;
    assert_eq!(traffic.refusals(), 0, "the log takes what the store cannot");
    traffic.end().await;
}
