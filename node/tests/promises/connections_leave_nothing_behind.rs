//! A connection that ended, however it ended, leaves neither a descriptor nor memory behind.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Server, User};

/// Connections at once, far more than the handful of descriptors that come and go with HTTP requests.
const CONNECTIONS: usize = 60;
/// Long enough for the server to see any end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens connections that have talked, and waits until the server holds a descriptor for each.
async fn crowd(server: &Server, user: &User) -> Vec<crate::support::Client> {
    let before = server.descriptors();
    let mut crowd = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = user.connect().await;
        client
            .refused(json!({"t": "send", "to": {}, "id": "", "body": ""}), "invalid_field")
            .await;
        crowd.push(client);
    }
    assert!(
        server.descriptors() > before + CONNECTIONS / 2,
        "connections take descriptors"
    );
    crowd
}

async fn until_only(server: &Server, most: usize) {
    let began = Instant::now();
    while server.descriptors() > most {
        let left = server.descriptors();
        assert!(
            began.elapsed() < PATIENCE,
            "{left} descriptors are left, of {most} before"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn descriptors_are_given_back_whoever_ends_the_connection() {
    let server = Server::with(&[("LIMITS__DEVICES_PER_USER", "1000")]).await;
    let ada = server.user("Ada").await;
    // A few for keep-alive connections of HTTP clients and for what the store opens when it needs it.
    let before = server.descriptors() + 12;
    for client in crowd(&server, &ada).await {
        client.close().await;
    }
    until_only(&server, before).await;
    drop(crowd(&server, &ada).await);
    until_only(&server, before).await;
    let clients = crowd(&server, &ada).await;
    ada.post("/api/auth/logout?everywhere=true", json!({})).await;
    until_only(&server, before).await;
    drop(clients);
}
