//! Once: the same client message id never makes two messages, whatever is retried, over whichever door.
//!
//! Every repeat is made through another door (socket, HTTP, a new connection, a restarted server) and must be answered with the
//! first message; then the history is counted.

use serde_json::{Value, json};

use crate::support::{Server, User, number};

fn to(conversation: &str, id: &str, body: &str) -> Value {
    json!({"t": "send", "to": {"conversation": conversation}, "id": id, "body": body})
}

async fn history_length(user: &User, conversation: &str) -> usize {
    user.whole_history(conversation).await.len()
}

#[tokio::test]
async fn a_repeat_is_answered_with_the_first_message_on_every_door() {
    let mut server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut reader = brian.connect().await;
    let mut socket = ada.connect().await;
    let first = socket.ok(to(&chat, "one", "hello")).await;
    assert_eq!((&first["seq"], &first["duplicate"]), (&json!(1), &Value::Null));
    let is_the_first = |again: &Value| {
        for same in ["seq", "at", "conversation"] {
            assert_eq!(again[same], first[same], "{same} of {again}");
        }
    };

    let again = socket.ok(to(&chat, "one", "hello")).await;
    assert_eq!(again["duplicate"], true);
    is_the_first(&again);

    let body = json!({"to": {"conversation": chat}, "id": "one", "body": "hello"});
    is_the_first(&ada.post("/api/messages", body.clone()).await.is(200));

    let device = socket.device.clone();
    drop(socket);
    let mut socket = ada.connect_as(&device).await;
    is_the_first(&socket.ok(to(&chat, "one", "another text")).await);
    let mut other_device = ada.connect().await;
    is_the_first(&other_device.ok(to(&chat, "one", "hello")).await);

    server.stop().await;
    server.start_again().await;
    is_the_first(&ada.post("/api/messages", body).await.is(200));
    let mut socket = ada.connect().await;
    let again = socket.ok(to(&chat, "one", "hello")).await;
    assert_eq!(again["duplicate"], true);
    is_the_first(&again);

    assert_eq!(history_length(&ada, &chat).await, 1);
    assert_eq!(reader.message(&chat).await["body"], "hello");
    assert!(reader.drain().await.0.iter().all(|frame| frame["t"] != "message"));
}

#[tokio::test]
async fn a_message_sent_by_http_first_is_a_duplicate_on_the_socket() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    assert_eq!(ada.say(&chat, "one", "hello").await, 1);
    let mut socket = ada.connect().await;
    let again = socket.ok(to(&chat, "one", "hello")).await;
    assert_eq!((&again["seq"], &again["duplicate"]), (&json!(1), &json!(true)));
}

#[tokio::test]
async fn repeats_written_back_to_back_make_one_message() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut socket = ada.connect().await;
    for _ in 0..20 {
        socket.write(&to(&chat, "one", "hello"));
    }
    let mut firsts = 0;
    for _ in 0..20 {
        let sent = socket.expect_t("sent").await;
        assert_eq!(sent["seq"], 1);
        firsts += usize::from(sent["duplicate"].is_null());
    }
    assert_eq!(firsts, 1, "exactly one answer is not a duplicate");
    assert_eq!(history_length(&ada, &chat).await, 1);
}

#[tokio::test]
async fn repeats_at_once_over_http_and_sockets_make_one_message() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let (mut phone, mut laptop) = (ada.connect().await, ada.connect().await);
    let body = || json!({"to": {"conversation": chat}, "id": "same", "body": "hello"});
    let (a, b, c, d) = tokio::join!(
        phone.ok(to(&chat, "same", "hello")),
        laptop.ok(to(&chat, "same", "hello")),
        ada.post("/api/messages", body()),
        ada.post("/api/messages", body()),
    );
    let (c, d) = (c.succeeds(), d.succeeds());
    for answer in [a, b, c, d] {
        assert_eq!(answer["seq"], 1, "{answer}");
    }
    assert_eq!(history_length(&ada, &chat).await, 1);
}

#[tokio::test]
async fn two_senders_may_use_the_same_id() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    assert_eq!(ada.say(&chat, "hello-1", "from ada").await, 1);
    assert_eq!(brian.say(&chat, "hello-1", "from brian").await, 2);
    let group = ada.group("Both", &[&brian]).await;
    assert_eq!(ada.say(&group, "hello-1", "elsewhere").await, 1);
}

#[tokio::test]
async fn a_refused_send_leaves_its_id_free() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut socket = ada.connect().await;
    let reply = json!({"t": "send", "to": {"conversation": chat}, "id": "one", "body": "re", "reply_to": 9});
    socket.refused(reply, "invalid_field").await;
    let empty = json!({"t": "send", "to": {"conversation": chat}, "id": "one"});
    socket.refused(empty, "invalid_field").await;
    let sent = socket.ok(to(&chat, "one", "now")).await;
    assert_eq!((&sent["seq"], &sent["duplicate"]), (&json!(1), &Value::Null));
}

#[tokio::test]
async fn an_id_older_than_the_window_is_still_known() {
    let mut server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut socket = ada.connect().await;
    let total: u64 = 1_100;
    socket.pour(&chat, 1..=total, "filler").await;
    // A new connection asks the store about ids that have left the window; so does HTTP.
    let mut fresh = ada.connect().await;
    let again = fresh.ok(to(&chat, "m1", "filler")).await;
    assert_eq!((&again["seq"], &again["duplicate"]), (&json!(1), &json!(true)));
    let body = json!({"to": {"conversation": chat}, "id": "m2", "body": "filler"});
    assert_eq!(ada.post("/api/messages", body.clone()).await.is(200)["seq"], 2);

    server.kill9();
    server.start_again().await;
    assert_eq!(ada.post("/api/messages", body).await.is(200)["seq"], 2);
    let mut after = ada.connect().await;
    assert_eq!(number(&after.ok(to(&chat, "m3", "filler")).await["seq"]), 3);
    assert_eq!(history_length(&brian, &chat).await, total as usize);
}
