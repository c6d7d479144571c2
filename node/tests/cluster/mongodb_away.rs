//! While MongoDB is away, conversations go on until too much waits for it; what needs the store fails with a time to try again; when
//! it is back, all is there.

use serde_json::json;

use crate::services::Service;
use crate::support::http::Reply;
use crate::support::{Server, User};
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

/// MongoDB's address, and short patience with it: of a server that stands still nothing is known but that it does not answer.
fn settings(address: &str) -> Vec<(&str, &str)> {
    let patience = [
        "MONGODB__COMMAND_TIMEOUT_MS",
        "MONGODB__SELECTION_TIMEOUT_MS",
        "MONGODB__CONNECT_TIMEOUT_MS",
    ];
    let mut settings = vec![("MONGODB__URL", address)];
    settings.extend(patience.map(|key| (key, "3000")));
    settings
}

#[tokio::test]
async fn a_mongodb_that_is_killed_or_stands_still_is_not_missed_by_who_talks() {
    let mongodb = Service::start("mongodb").await;
    let server = Server::with(&settings(&mongodb.address())).await;
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

/// What waits for the store, of all nodes.
async fn unstored(server: &Server) -> Vec<f64> {
    let mut all = Vec::new();
    for node in &server.nodes {
        let page = String::from_utf8(node.admin().get("/metrics").await.body.to_vec()).unwrap();
        let figure = page
            .lines()
            .find_map(|line| line.strip_prefix("actors_unstored_bytes "))
            .map(|figure| figure.parse().unwrap());
        all.push(figure.unwrap_or(0.0));
    }
    all
}

/// The least that may be configured: some hundred short messages.
const BOUND: usize = 64 * 1024;

/// A message to a conversation whose owner has no room for it.
async fn has_no_room(server: &Server, sender: &User, chat: &str) {
    let message = json!({"to": {"conversation": chat}, "id": "no-room", "body": "one more"});
    let reply = sender.http().post("/api/messages", message).await;
    let problem = reply.refuses(503, "unavailable");
    assert_eq!(problem["detail"], "the store is behind; nothing was sent");
    is_refused_for_now(&reply);
    let (most, unstored) = (BOUND as f64, unstored(server).await);
    assert!(unstored.iter().any(|bytes| *bytes > most), "{unstored:?}");
    // No more than what was on its way when the bound was reached.
    assert!(unstored.iter().all(|bytes| *bytes < 1.5 * most), "{unstored:?}");
}

#[tokio::test]
async fn what_waits_for_a_mongodb_that_is_away_is_bounded_and_none_of_it_is_lost() {
    let mongodb = Service::start("mongodb").await;
    let (address, bound) = (mongodb.address(), BOUND.to_string());
    let mut settings = settings(&address);
    settings.push(("UNSTORED_BYTES", &bound));
    let server = Server::with(&settings).await;
    let traffic = Traffic::start(&server).await;
    let [ada, brian, cleo] = &traffic.users;
    let chats = [(ada, ada.direct(brian).await), (brian, brian.direct(cleo).await)];
    traffic.goes_on(20).await;

    mongodb.kill().await;
    traffic.is_refused().await;
    for (sender, chat) in &chats {
        has_no_room(&server, sender, chat).await;
    }
    mongodb.start_again().await;
    traffic.goes_on(20).await;
    traffic.end().await;
}
