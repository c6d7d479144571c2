//! A slow reader costs the server a bounded amount of memory, costs the others nothing, and loses nothing.
//!
//! Readers with small socket buffers stop reading while far more is sent than the buffers hold. Then they either go on and are
//! caught up from the log, or are closed with 4008 and resume.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Client, Server, User, number};

/// Bytes of one message's text.
const BODY: usize = 12 * 1024;
/// Messages sent while nobody reads: far beyond what socket buffers and outboxes take.
const FLOOD: u64 = 4_000;
const STUCK: usize = 12;

async fn stuck_reader(user: &User) -> Client {
    let client = user.socket().receive_buffer(4 * 1024).open().await;
    client.stop_reading();
    client
}

/// Sends `count` large messages and waits for every answer.
async fn flood(sender: &mut Client, conversation: &str, first: u64, count: u64) {
    let numbers = first..=first + count - 1;
    sender.pour(conversation, numbers, &"x".repeat(BODY)).await;
}

/// The caches of log and store fill with whatever is written (16 MiB each); the outboxes may hold 256 KiB for each reader; some
/// MiB wait for the store. All that was sent to the stuck readers would be nine times what one of them was sent.
const BOUND_KIB: u64 = 48 * 1024;

#[tokio::test]
async fn stuck_readers_do_not_grow_the_server_and_lose_nothing() {
    let server = Server::with(&[("LIMITS__WRITE_DEADLINE_SECONDS", "120")]).await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let group = ada.group("Flood", &[&brian, &carol]).await;
    let mut sender = ada.connect().await;
    let mut witness = carol.connect().await;
    let mut stuck = Vec::new();
    for _ in 0..STUCK.min(9) {
        stuck.push(stuck_reader(&brian).await);
    }
    flood(&mut sender, &group, 0, 400).await;
    let before = server.resident_kib();
    flood(&mut sender, &group, 400, FLOOD - 400).await;
    let grown = server.resident_kib().saturating_sub(before);
    let sent_kib = (FLOOD - 400) * BODY as u64 / 1024;
    println!(
        "{sent_kib} KiB sent to each of {} stuck readers; the server grew by {grown} KiB",
        stuck.len()
    );
    assert!(grown < BOUND_KIB, "the server grew by {grown} KiB");
    assert_eq!(
        witness.stream(&group, 1, FLOOD).await.len() as u64,
        FLOOD,
        "others are unaffected"
    );

    let mut late = stuck.pop().unwrap();
    drop(stuck);
    late.go_on_reading();
    let frames = late.stream(&group, 1, FLOOD).await;
    let messages = frames.iter().filter(|frame| frame["t"] == "message").count();
    println!("the late reader got {messages} of {FLOOD} live");
    let next = sender.say(&group, "and live again").await;
    assert_eq!(late.message(&group).await["seq"], next);
}

#[tokio::test]
async fn a_reader_that_does_not_drain_is_closed_with_4008_and_resumes() {
    let settings = [
        ("LIMITS__WRITE_DEADLINE_SECONDS", "1"),
        ("LIMITS__SYNC_MESSAGES", "100000"),
        ("LIMITS__SYNC_MESSAGES_TOTAL", "100000"),
    ];
    let server = Server::with(&settings).await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Flood", &[&brian]).await;
    let mut sender = ada.connect().await;
    let mut reader = stuck_reader(&brian).await;
    let device = reader.device.clone();
    flood(&mut sender, &group, 0, 1_200).await;
    closed_as_too_slow(&server).await;
    reader.go_on_reading();
    let (frames, code) = reader.drain().await;
    assert!(matches!(code, Some(4008) | None), "closed with {code:?}");
    let got = frames
        .iter()
        .filter(|frame| frame["t"] == "message")
        .map(|frame| number(&frame["seq"]));
    let got: Vec<u64> = got.collect();
    assert_eq!(
        got,
        (1..=got.len() as u64).collect::<Vec<_>>(),
        "what came, came in order"
    );
    assert!(got.len() < 1_200, "it had not read everything");

    let mut reader = brian.connect_as(&device).await;
    assert_eq!(reader.stream(&group, 1, 1_200).await.len(), 1_200);
}

/// Waits until the server has no more than the sender's socket.
async fn closed_as_too_slow(server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let metrics = server.admin().get("/metrics").await;
        let open = metrics
            .body
            .split(|byte| *byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line).ok())
            .filter(|line| line.starts_with("node_connections "))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>();
        if open <= 1.0 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the slow reader was not closed; {open} sockets are open"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_reader_that_reads_slowly_but_steadily_is_kept() {
    let server = Server::with(&[("LIMITS__WRITE_DEADLINE_SECONDS", "2")]).await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Trickle", &[&brian]).await;
    let mut sender = ada.connect().await;
    let mut reader = brian.socket().receive_buffer(4 * 1024).open().await;
    let steady = async {
        for _ in 0..30 {
            reader.stop_reading();
            tokio::time::sleep(Duration::from_millis(100)).await;
            reader.go_on_reading();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(steady, flood(&mut sender, &group, 0, 1_000));
    assert_eq!(reader.stream(&group, 1, 1_000).await.len(), 1_000);
}

#[tokio::test]
async fn answers_and_heartbeats_reach_a_reader_that_is_behind() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Behind", &[&brian]).await;
    let mut sender = ada.connect().await;
    let mut reader = stuck_reader(&brian).await;
    flood(&mut sender, &group, 0, 800).await;
    reader.write(&json!({"t": "ping", "id": "late"}));
    reader.write_frame(0x89, b"beat");
    reader.go_on_reading();
    reader
        .expect("the pong", |frame| frame["t"] == "pong" && frame["id"] == "late")
        .await;
    assert_eq!(reader.stream(&group, 1, 800).await.len(), 800);
}
