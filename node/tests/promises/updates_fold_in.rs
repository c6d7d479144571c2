//! Edits, deletions and reactions take the next seq, reach everyone as updates, and are folded into the history.

use serde_json::{Value, json};

use crate::support::{Client, Server, field, number};

fn edit(chat: &str, seq: u64, body: &str) -> Value {
    json!({"t": "edit", "conversation": chat, "seq": seq, "body": body})
}

fn delete(chat: &str, seq: u64) -> Value {
    json!({"t": "delete", "conversation": chat, "seq": seq})
}

fn react(chat: &str, seq: u64, emoji: &str, remove: bool) -> Value {
    json!({"t": "react", "conversation": chat, "seq": seq, "emoji": emoji, "remove": remove})
}

async fn ok_seq(client: &mut Client, frame: Value) -> u64 {
    let ok = client.ok(frame).await;
    assert_eq!(ok["t"], "ok");
    number(&ok["seq"])
}

#[tokio::test]
async fn an_edit_takes_the_next_seq_and_reaches_everybody() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let (mut adas, mut brians) = (ada.connect().await, brian.connect().await);
    adas.say(&chat, "helo").await;
    assert_eq!(ok_seq(&mut adas, edit(&chat, 1, "hello")).await, 2);
    for client in [&mut adas, &mut brians] {
        let update = client.update(&chat).await;
        assert_eq!((&update["seq"], &update["of"]), (&json!(2), &json!(1)));
        assert_eq!((&update["kind"], &update["body"]), (&json!("edit"), &json!("hello")));
        assert_eq!(update["from"], ada.id.as_str());
    }
    assert_eq!(adas.say(&chat, "next").await, 3);
    let history = brian.whole_history(&chat).await;
    assert_eq!(
        field(&history, "seq"),
        [json!(1), json!(3)],
        "history lists messages only"
    );
    assert_eq!(history[0]["body"], "hello");
    assert!(history[0]["edited_at"].is_string());
    assert_eq!(history[1]["edited_at"], Value::Null);
    let path = format!("/api/messages/{chat}/3");
    ada.patch(&path, json!({"body": "by http"})).await.succeeds();
    assert_eq!(brians.update(&chat).await["body"], "by http");
}

#[tokio::test]
async fn only_its_sender_edits_a_message() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Ours", &[&brian]).await;
    let mut brians = brian.connect().await;
    brians.say(&group, "mine").await;
    let path = format!("/api/messages/{group}/1");
    ada.patch(&path, json!({"body": "the owner's"}))
        .await
        .refuses(403, "forbidden");
    brians.refused(edit(&group, 9, "no such message"), "not_found").await;
    brians.refused(edit(&group, 0, "no such message"), "not_found").await;
    brians.refused(edit(&group, 1, ""), "invalid_field").await;
    assert_eq!(ok_seq(&mut brians, edit(&group, 1, "still mine")).await, 2);
    brians
        .refused(edit(&group, 2, "an update is no message"), "not_found")
        .await;
}

#[tokio::test]
async fn a_deleted_message_loses_its_text_for_good() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let (mut adas, mut brians) = (ada.connect().await, brian.connect().await);
    let send = json!({"t": "send", "to": {"conversation": chat}, "id": "m", "body": "secret one", "data": {"k": "secret data"}});
    adas.ok(send).await;
    ok_seq(&mut adas, edit(&chat, 1, "secret two")).await;
    assert_eq!(ok_seq(&mut adas, delete(&chat, 1)).await, 3);
    brians
        .expect("the deletion", |frame| {
            frame["t"] == "update" && frame["kind"] == "delete"
        })
        .await;

    let history = brian.whole_history(&chat).await;
    assert_eq!(history.len(), 1);
    assert_eq!(
        (&history[0]["deleted"], &history[0]["body"]),
        (&json!(true), &json!(""))
    );
    let mut replayed = brian.connect().await;
    let frames = replayed.stream(&chat, 1, 3).await;
    for told in [json!(history), json!(frames), brian.inbox_row(&chat).await.unwrap()] {
        assert!(!told.to_string().contains("secret"), "{told}");
    }
    assert_eq!(frames[1]["t"], "update");
    assert_eq!(
        frames[1]["body"],
        Value::Null,
        "earlier updates come without their text"
    );
    adas.refused(edit(&chat, 1, "risen"), "conflict").await;
}

#[tokio::test]
async fn a_repeat_answers_as_the_first_did_and_takes_no_seq() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut adas = ada.connect().await;
    adas.say(&chat, "hello").await;
    let first = ok_seq(&mut adas, react(&chat, 1, "👍", false)).await;
    assert_eq!(ok_seq(&mut adas, react(&chat, 1, "👍", false)).await, first);
    let removed = ok_seq(&mut adas, react(&chat, 1, "👍", true)).await;
    assert_eq!(removed, 3);
    let again = adas.ok(react(&chat, 1, "👍", true)).await;
    assert_eq!(again["t"], "ok");
    let deleted = ok_seq(&mut adas, delete(&chat, 1)).await;
    assert_eq!(deleted, 4);
    assert_eq!(ok_seq(&mut adas, delete(&chat, 1)).await, deleted);
    let path = format!("/api/messages/{chat}/1");
    ada.delete(&path).await.succeeds();
    assert_eq!(adas.say(&chat, "next").await, 5);
}

#[tokio::test]
async fn reactions_are_counted_and_name_who_reacted() {
    let server = Server::start().await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let group = ada.group("Cheers", &[&brian, &carol]).await;
    ada.say(&group, "m", "done!").await;
    let reaction = |emoji: &str| format!("/api/messages/{group}/1/reactions/{emoji}");
    let (thumb, heart) = ("%F0%9F%91%8D", "%E2%9D%A4");
    brian.put(&reaction(thumb)).await.succeeds();
    brian.put(&reaction(thumb)).await.succeeds();
    carol.put(&reaction(thumb)).await.succeeds();
    carol.put(&reaction(heart)).await.succeeds();
    brian.delete(&reaction(heart)).await.succeeds();
    let history = ada.whole_history(&group).await;
    let expected = json!([
        {"emoji": "👍", "count": 2, "users": [brian.id, carol.id]},
        {"emoji": "❤", "count": 1, "users": [carol.id]},
    ]);
    assert_eq!(history[0]["reactions"], expected);
    carol.delete(&reaction(thumb)).await.succeeds();
    carol.delete(&reaction(heart)).await.succeeds();
    let expected = json!([{"emoji": "👍", "count": 1, "users": [brian.id]}]);
    assert_eq!(ada.whole_history(&group).await[0]["reactions"], expected);
    let head = number(&ada.inbox_row(&group).await.unwrap()["head"]);
    assert_eq!(
        head, 6,
        "three reactions and two removals took a seq each, repeats none"
    );
}

#[tokio::test]
async fn wrong_reactions_are_refused() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut adas = ada.connect().await;
    adas.say(&chat, "hello").await;
    adas.refused(react(&chat, 7, "👍", false), "not_found").await;
    adas.refused(react(&chat, 1, "", false), "invalid_field").await;
    let long = adas.request(react(&chat, 1, &"x".repeat(5_000), false)).await;
    assert_eq!(long["t"], "error", "{long}");
    let none = json!({"t": "react", "conversation": chat, "seq": 1});
    adas.refused(none, "invalid_field").await;
}

#[tokio::test]
async fn a_group_admin_deletes_what_others_wrote() {
    let server = Server::start().await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let group = ada.group("Order", &[&brian, &carol]).await;
    carol.say(&group, "m1", "rude").await;
    carol.say(&group, "m2", "ruder").await;
    brian
        .delete(&format!("/api/messages/{group}/1"))
        .await
        .refuses(403, "forbidden");
    ada.delete(&format!("/api/messages/{group}/1")).await.succeeds();
    ada.patch(
        &format!("/api/groups/{group}/members/{}", brian.id),
        json!({"role": "admin"}),
    )
    .await
    .succeeds();
    brian.delete(&format!("/api/messages/{group}/2")).await.succeeds();
    let history = carol.whole_history(&group).await;
    assert_eq!(field(&history, "deleted"), [json!(true), json!(true)]);
    let chat = carol.direct(&brian).await;
    carol.say(&chat, "m1", "private").await;
    brian
        .delete(&format!("/api/messages/{chat}/1"))
        .await
        .refuses(403, "forbidden");
}

#[tokio::test]
async fn replies_and_mentions_name_what_is_there() {
    let server = Server::start().await;
    let [ada, brian, eve] = server.users(["Ada", "Brian", "Eve"]).await;
    let group = ada.group("Threads", &[&brian]).await;
    let mut adas = ada.connect().await;
    adas.say(&group, "question").await;
    let send = |id: &str, extra: Value| {
        let mut frame = json!({"t": "send", "to": {"conversation": group}, "id": id, "body": "answer"});
        frame
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        frame
    };
    adas.ok(send("a", json!({"reply_to": 1, "mentions": [brian.id, eve.id]})))
        .await;
    let history = brian.whole_history(&group).await;
    assert_eq!(
        (&history[1]["reply_to"], &history[1]["mentions"]),
        (&json!(1), &json!([brian.id]))
    );
    for reply_to in [json!(99), json!(0)] {
        adas.refused(send("b", json!({"reply_to": reply_to})), "invalid_field")
            .await;
    }
    adas.refused(send("c", json!({"mentions": ["nonsense"]})), "invalid_field")
        .await;
    ok_seq(&mut adas, react(&group, 1, "👍", false)).await;
    adas.refused(send("d", json!({"reply_to": 3})), "invalid_field").await;
}
