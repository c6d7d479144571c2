//! Acknowledged means kept: what was answered `sent` survives the loss of the process at any instant.
//!
//! Rounds of `kill -9` at a random instant of a stream of sends. After each the server starts on the same data, what was not
//! answered is sent again with the same id, and what was answered must stand where its answer said. In the end the history
//! and a receiver that reconnected each time are held against every answer ever seen.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Seed, Server, User, number, text};

const ROUNDS: usize = 5;
/// Sends without an answer; below the server's limit, so that none is refused.
const IN_FLIGHT: usize = 48;

/// What the sender knows: which ids were answered, with which seq, and which are still to be answered.
#[derive(Default)]
struct Ledger {
    answered: BTreeMap<String, u64>,
    waiting: VecDeque<String>,
    made: usize,
}

impl Ledger {
    fn make(&mut self) -> String {
        let id = format!("m{}", self.made);
        self.made += 1;
        self.waiting.push_back(id.clone());
        id
    }

    fn note(&mut self, frame: &Value) {
        if frame["t"] != "sent" {
            return;
        }
        let (id, seq) = (text(&frame["id"]), number(&frame["seq"]));
        self.waiting.retain(|waiting| *waiting != id);
        let before = self.answered.insert(id.clone(), seq);
        assert!(
            before.is_none_or(|before| before == seq),
            "{id} got two seqs: {before:?} and {seq}"
        );
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    let mut seed = Seed::fresh();
    let whole = [
        ("LIMITS__SYNC_MESSAGES", "100000"),
        ("LIMITS__SYNC_MESSAGES_TOTAL", "100000"),
    ];
    let mut server = Server::with(&whole).await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Storm", &[&brian]).await;
    let mut ledger = Ledger::default();
    let mut received = BTreeMap::new();
    let mut reader = brian.connect().await;
    let device = reader.device.clone();
    for round in 0..ROUNDS {
        let mut sender = ada.connect().await;
        let until = Instant::now() + Duration::from_millis(50 + seed.next() % 400);
        send_until(until, &mut sender, &group, &mut ledger).await;
        if let Some(highest) = received.keys().next_back().filter(|_| seed.chance(50)) {
            reader.ack(&group, *highest);
        }
        server.kill9();
        for frame in sender.drain().await.0 {
            ledger.note(&frame);
        }
        read_everything(reader.drain().await.0, &group, &mut received);
        println!(
            "round {round}: {} sent, {} unanswered",
            ledger.answered.len(),
            ledger.waiting.len()
        );
        server.start_again().await;
        reader = brian.connect_as(&device).await;
        assert_eq!(reader.device, device, "a device survives");
    }
    let mut sender = ada.connect().await;
    retry(&mut sender, &group, &mut ledger).await;
    let head = ledger.answered.len() as u64;
    let kept = history(&ada, &group).await;
    assert_eq!(kept, by_seq(&ledger), "the history and the answers agree");
    while received.keys().next_back() != Some(&head) {
        let message = reader.message(&group).await;
        read_everything(vec![message], &group, &mut received);
    }
    assert_eq!(received, kept, "the receiver saw every message where it stands");
}

#[tokio::test]
async fn what_was_acknowledged_just_before_the_kill_is_there_after_it() {
    let mut server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Brief", &[&brian]).await;
    let mut socket = ada.connect().await;
    assert_eq!(socket.say(&group, "kept").await, 1);
    socket
        .ok(json!({"t": "edit", "conversation": group, "seq": 1, "body": "edited"}))
        .await;
    let carol = server.user("Carol").await;
    let added = json!({"users": [carol.id]});
    ada.post(&format!("/api/groups/{group}/members"), added)
        .await
        .succeeds();
    server.kill9();
    server.start_again().await;
    let messages = carol.whole_history(&group).await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["body"], "edited");
    assert_eq!(carol.connect().await.say(&group, "next").await, 3);
}

async fn send_until(until: Instant, sender: &mut Client, group: &str, ledger: &mut Ledger) {
    for id in &ledger.waiting {
        sender.write_send(json!({"conversation": group}), id, "again");
    }
    while Instant::now() < until {
        while ledger.waiting.len() < IN_FLIGHT {
            let id = ledger.make();
            sender.write_send(json!({"conversation": group}), &id, "first");
        }
        let frame = sender.next().await;
        assert_ne!(frame["t"], "error", "{frame}");
        ledger.note(&frame);
    }
}

async fn retry(sender: &mut Client, group: &str, ledger: &mut Ledger) {
    for id in &ledger.waiting {
        sender.write_send(json!({"conversation": group}), id, "again");
    }
    while !ledger.waiting.is_empty() {
        let frame = sender.next().await;
        assert_ne!(frame["t"], "error", "{frame}");
        ledger.note(&frame);
    }
}

/// Notes the messages of a receiver; a seq may come again after a kill, but never with another message.
fn read_everything(frames: Vec<Value>, group: &str, received: &mut BTreeMap<u64, String>) {
    for frame in frames {
        assert_ne!(frame["t"], "gap", "nothing here is too much to replay: {frame}");
        if frame["t"] == "message" && frame["conversation"] == group {
            let (seq, id) = (number(&frame["seq"]), text(&frame["id"]));
            let before = received.insert(seq, id.clone());
            assert!(
                before.as_ref().is_none_or(|before| *before == id),
                "seq {seq} is {before:?} and {id}"
            );
        }
    }
}

fn by_seq(ledger: &Ledger) -> BTreeMap<u64, String> {
    let order: BTreeMap<u64, String> = ledger.answered.iter().map(|(id, seq)| (*seq, id.clone())).collect();
    assert_eq!(order.len(), ledger.answered.len(), "no two messages share a seq");
    order
}

async fn history(user: &User, group: &str) -> BTreeMap<u64, String> {
    let messages = user.whole_history(group).await;
    messages
        .iter()
        .map(|message| (number(&message["seq"]), text(&message["id"])))
        .collect()
}
