//! One order: a conversation's `seq` starts at 1, has no gap and no duplicate, and every member sees the same order.
//!
//! Eight members send at once, pipelined, over sockets and over HTTP; what each of them and an onlooker saw is compared seq by
//! seq, with each other and with the history.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::files_reach_their_readers::upload;
use crate::support::{Client, Server, User, number, text};

const SENDERS: usize = 8;
const EACH: usize = 50;

/// What one member knows: which message (sender and client id) stands at which seq.
type Order = BTreeMap<u64, (String, String)>;

#[tokio::test]
async fn every_member_sees_the_order_that_eight_concurrent_senders_made() {
    let server = Server::start().await;
    let owner = server.user("Onlooker").await;
    let mut senders = Vec::new();
    for n in 0..SENDERS {
        senders.push(server.user(&format!("Sender{n}")).await);
    }
    let group = owner.group("Order", &senders.iter().collect::<Vec<_>>()).await;
    let mut onlooker = owner.connect().await;
    let mut sockets = Vec::new();
    for sender in &senders {
        sockets.push(sender.connect().await);
    }
    let tasks: Vec<_> = sockets
        .into_iter()
        .map(|socket| tokio::spawn(send_and_watch(socket, group.clone())))
        .collect();
    let watched = watch_to((SENDERS * EACH) as u64, &mut onlooker, &group, Order::new()).await;
    assert_eq!(
        watched.keys().copied().collect::<Vec<_>>(),
        (1..=400).collect::<Vec<_>>()
    );
    for task in tasks {
        assert_eq!(task.await.unwrap(), watched, "two members saw different orders");
    }
    assert_eq!(history(&owner, &group).await, watched, "the history has another order");
    assert_each_sender_in_its_own_order(&watched);
}

#[tokio::test]
async fn http_and_websocket_senders_share_one_order() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let conversation = ada.direct(&brian).await;
    let mut onlooker = brian.connect().await;
    let socket = ada.connect().await;
    let by_http = async {
        for n in 0..EACH {
            brian.say(&conversation, &format!("h{n}"), "by http").await;
        }
    };
    let (socket_order, ()) = tokio::join!(send_and_see(socket, &conversation, 2 * EACH as u64), by_http);
    let seen = onlooker.stream(&conversation, 1, 2 * EACH as u64).await;
    let seen: Order = seen.iter().map(place).collect();
    assert_eq!(seen, history(&ada, &conversation).await);
    assert_eq!(seen, socket_order);
}

#[tokio::test]
async fn a_text_does_not_overtake_the_attachment_sent_before_it() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let conversation = ada.direct(&brian).await;
    let file = upload(&ada, "plan.txt", "text/plain", b"the plan").await;
    let socket = ada.connect().await;
    let to = json!({"conversation": conversation});
    for n in 0..20 {
        socket.write(&json!({"t": "send", "id": format!("a{n}"), "to": to, "attachments": [file]}));
        socket.write_send(to.clone(), &format!("b{n}"), "as you see above");
    }
    let mut onlooker = brian.connect().await;
    let seen: Order = onlooker.stream(&conversation, 1, 40).await.iter().map(place).collect();
    let ids: Vec<_> = seen.into_values().map(|(_, id)| id).collect();
    let sent: Vec<_> = (0..20).flat_map(|n| [format!("a{n}"), format!("b{n}")]).collect();
    assert_eq!(ids, sent);
}

#[tokio::test]
async fn conversations_do_not_share_their_numbers() {
    let server = Server::start().await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let first = ada.group("First", &[&brian]).await;
    let second = ada.group("Second", &[&brian, &carol]).await;
    let direct = ada.direct(&brian).await;
    let mut ada = ada.connect().await;
    for due in 1..=3 {
        for conversation in [&first, &second, &direct] {
            assert_eq!(ada.say(conversation, "hello").await, due);
        }
    }
}

#[tokio::test]
async fn the_order_goes_on_after_a_restart() {
    let mut server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let conversation = ada.direct(&brian).await;
    for n in 1..=5 {
        assert_eq!(ada.say(&conversation, &format!("a{n}"), "before").await, n);
    }
    server.stop().await;
    server.start_again().await;
    assert_eq!(brian.say(&conversation, "b1", "after").await, 6);
    assert_eq!(ada.whole_history(&conversation).await.len(), 6);
}

async fn send_and_watch(socket: Client, group: String) -> Order {
    send_and_see(socket, &group, (SENDERS * EACH) as u64).await
}

/// Sends without waiting for answers, then gathers what there is: the own messages from their `sent`, those of others from
/// their `message`.
async fn send_and_see(mut socket: Client, conversation: &str, head: u64) -> Order {
    for n in 0..EACH {
        let id = format!("{}-{n}", socket.user);
        socket.write_send(json!({"conversation": conversation}), &id, "in order");
    }
    watch_to(head, &mut socket, conversation, Order::new()).await
}

async fn watch_to(head: u64, socket: &mut Client, conversation: &str, mut order: Order) -> Order {
    let mut last = 0;
    while order.len() < head as usize {
        let frame = socket
            .expect(&format!("{head} messages, having {}", order.len()), |frame| {
                (frame["t"] == "message" || frame["t"] == "sent") && frame["conversation"] == conversation
            })
            .await;
        let (seq, message) = if frame["t"] == "sent" {
            (number(&frame["seq"]), (socket.user.clone(), text(&frame["id"])))
        } else {
            let seq = number(&frame["seq"]);
            assert!(seq > last, "{}: seq {seq} came after {last}", socket.user);
            last = seq;
            place(&frame)
        };
        assert_eq!(order.insert(seq, message), None, "seq {seq} came twice");
    }
    order
}

fn place(message: &Value) -> (u64, (String, String)) {
    (number(&message["seq"]), (text(&message["from"]), text(&message["id"])))
}

async fn history(user: &User, conversation: &str) -> Order {
    user.whole_history(conversation).await.iter().map(place).collect()
}

/// One socket's sends are taken in the order in which it wrote them.
fn assert_each_sender_in_its_own_order(order: &Order) {
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    for (sender, id) in order.values() {
        let due = next.entry(sender).or_default();
        assert_eq!(*id, format!("{sender}-{due}"), "out of its sender's order");
        *due += 1;
    }
}
