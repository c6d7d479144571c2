//! A disk that takes no writes.
//!
//! A limit on the size of the files that the process may write stands for it, as that can be set and lifted by anybody while
//! the node runs. What SQLite sees is an I/O error.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Place, Server};

const PATIENCE: Duration = Duration::from_secs(30);

/// Sets how far into a file the server may write.
fn limit(server: &Server, bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let set = Command::new("prlimit")
        .args(["--pid", &server.pid().to_string(), &limit])
        .status();
    assert!(set.expect("prlimit runs").success());
}

/// Waits until it answers with this status; answers why.
fn is_ready(server: &Server, status: u16) -> String {
    let begun = Instant::now();
    loop {
        let answer = server.admin("GET", "/readyz", None);
        if answer.status == status {
            return answer.body;
        }
        assert!(begun.elapsed() < PATIENCE, "{}: {}", answer.status, server.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Signs somebody up; answers the status, and what was said.
fn sign_up(server: &Server, name: &str) -> (u16, Value) {
    let account = json!({"email": format!("{name}@example.org"), "name": name, "password": "a long enough password"});
    let answer = server.post("/api/auth/signup", None, &account);
    (answer.status, answer.json())
}

#[test]
fn a_node_whose_disk_takes_no_writes_is_not_ready_until_it_does() {
    let place = Place::new();
    let mut server = Server::start_deaf_to(&place, "XFSZ", &[("ROOKERY_LOG__FILTER", "debug")]);
    let [ada, bob] = ["ada", "bob"].map(|name| sign_up(&server, name).1);
    let token = ada["access_token"].as_str().expect("a token");
    let message = json!({"to": {"user": bob["user"]["id"]}, "id": "first", "body": "Hello"});
    let send = || server.post("/api/messages", Some(token), &message).status;
    is_ready(&server, 200);

    limit(&server, "4096");
    // What became of it is not known, or nothing did: both are errors of the server.
    assert!(sign_up(&server, "eve").0 >= 500);
    let why = is_ready(&server, 503);
    assert!(why.contains("the store cannot be written"), "{why}");
    assert!(send() >= 500);
    let why = is_ready(&server, 503);
    assert!(why.contains("the log cannot be written"), "{why}");
    // Nor when nobody writes any more.
    server.wait_for_log("the disk still takes no writes");
    is_ready(&server, 503);
    assert_eq!(server.admin("GET", "/healthz", None).status, 200);

    limit(&server, "unlimited");
    is_ready(&server, 200);
    assert!(send() < 300, "{}", server.log());
    assert_eq!(sign_up(&server, "mallory").0, 201);
    server.stop();
    assert!(!place.path().join("data/room.tmp").exists());
}
