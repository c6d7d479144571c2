//! Nodes come and go, in order or not, and nobody's message is lost, doubled or out of order.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::http::Http;
use crate::support::{Server, User, number};

/// Messages of one sender while nodes come and go.
struct Sender {
    stop: watch::Sender<bool>,
    task: JoinHandle<u64>,
}

impl Sender {
    /// Sends one after the other through that node, each until it is answered, as a client does.
    fn start(http: Http, chat: &str, name: &'static str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let chat = chat.to_owned();
        let task = tokio::spawn(async move {
            let mut sent = 0;
            while !*stopped.borrow() {
                let id = format!("{name}{sent}");
                let body = json!({"to": {"conversation": chat}, "id": id, "body": id});
                while http.post("/api/messages", body.clone()).await.status >= 400 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                sent += 1;
            }
            sent
        });
        Self { stop, task }
    }

    async fn end(self) -> u64 {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }
}

async fn assert_all_there(reader: &User, chat: &str, sent: u64) {
    let history = reader.whole_history(chat).await;
    let seqs: Vec<_> = history.iter().map(|message| number(&message["seq"])).collect();
    assert_eq!(seqs, (1..=sent).collect::<Vec<_>>());
    let ids: BTreeSet<_> = history.iter().map(|message| message["id"].to_string()).collect();
    assert_eq!(ids.len() as u64, sent, "a message is there twice");
}

#[tokio::test]
async fn a_node_that_joins_takes_its_share_and_one_that_drains_gives_it_back() {
    let mut server = Server::of(2, &[]).await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let sender = Sender::start(ada.http(), &chat, "a");
    server.grow().await;
    let mut left = server.nodes.pop().unwrap();
    left.stop().await;
    server.agree().await;
    let sent = sender.end().await;
    assert_all_there(&brian, &chat, sent).await;
}

#[tokio::test]
async fn a_killed_node_is_replaced() {
    let mut server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chats = [
        ada.direct(&brian).await,
        ada.group("G", &[&brian]).await,
        ada.group("H", &[&brian]).await,
    ];
    let [first, second, third] = ["a", "b", "c"];
    let senders = [
        Sender::start(ada.http(), &chats[0], first),
        Sender::start(ada.http(), &chats[1], second),
        Sender::start(brian.http(), &chats[2], third),
    ];
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut dead = server.nodes.pop().unwrap();
    dead.kill9();
    server.agree().await;
    for (chat, sender) in chats.iter().zip(senders) {
        let sent = sender.end().await;
        assert_all_there(&ada, chat, sent).await;
    }
}
