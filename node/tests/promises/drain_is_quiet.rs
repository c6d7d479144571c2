//! A server that is asked to stop says so, lets what is under way finish, closes with 1001 and exits with 0, having lost nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Server, number};

#[tokio::test]
async fn sigterm_tells_the_clients_to_go_and_exits_in_order() {
    let mut server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut sockets = [ada.connect().await, brian.connect().await];
    server.ask_to_stop();
    for socket in &mut sockets {
        let goaway = socket.expect_t("goaway").await;
        assert_eq!(goaway["reason"], "drain");
        number(&goaway["reconnect_after_ms"]);
    }
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, 1001);
    }
    assert_eq!(server.ended().await.code(), Some(0));
    server.start_again().await;
    assert_eq!(ada.say(&chat, "m1", "after").await, 1);
}

#[tokio::test]
async fn what_is_sent_while_draining_is_kept_or_refused_but_never_lost() {
    let mut server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut socket = ada.connect().await;
    for n in 0..20 {
        socket.write_send(json!({"conversation": chat}), &format!("m{n}"), "before the end");
    }
    server.ask_to_stop();
    for n in 20..40 {
        socket.write_send(json!({"conversation": chat}), &format!("m{n}"), "at the end");
    }
    let (frames, code) = socket.drain().await;
    assert_eq!(code, Some(1001));
    let sent: Vec<_> = frames.iter().filter(|frame| frame["t"] == "sent").collect();
    server.ended().await;
    server.start_again().await;
    let history = ada.whole_history(&chat).await;
    for answer in &sent {
        let kept = history.iter().find(|message| message["id"] == answer["id"]);
        assert_eq!(kept.map(|message| &message["seq"]), Some(&answer["seq"]), "{answer}");
    }
    println!("{} answered, {} kept", sent.len(), history.len());
}

#[tokio::test]
async fn a_draining_server_is_not_ready_and_takes_no_new_sockets() {
    let mut server = Server::with(&[("DRAIN_SECONDS", "5")]).await;
    let ada = server.user("Ada").await;
    server.admin().get("/readyz").await.is(200);
    let mut socket = ada.connect().await;
    server.ask_to_stop();
    socket.expect_t("goaway").await;
    socket.settle().await;
    let ready = server.admin().get("/readyz").await;
    assert_eq!(ready.status, 503, "readiness is false while draining");
    let refused = ada.socket().refused().await;
    refused.refuses(503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    drop(socket);
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_client_that_does_not_go_does_not_hold_the_server_up() {
    let mut server = Server::with(&[("DRAIN_SECONDS", "2")]).await;
    let ada = server.user("Ada").await;
    let stubborn = ada.socket().receive_buffer(4_096).open().await;
    stubborn.stop_reading();
    let began = Instant::now();
    server.ask_to_stop();
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "stopped after {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn two_servers_do_not_share_a_data_directory() {
    let server = Server::start().await;
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_rookery"))
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(server.data_dir())
        .env_clear()
        .output()
        .unwrap();
    assert!(!second.status.success(), "the second server started");
    let said = String::from_utf8_lossy(&second.stderr).into_owned() + &String::from_utf8_lossy(&second.stdout);
    assert!(said.contains("data") && !said.contains("panicked"), "{said}");
    server.user("Ada").await;
}
