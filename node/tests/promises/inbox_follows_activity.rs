//! The inbox lists each conversation of a user once, newest activity first, with what the user needs to see of it.

use serde_json::{Value, json};

use crate::support::{Server, User, field, items};

async fn inbox(user: &User) -> Vec<Value> {
    items(&user.get("/api/conversations").await.is(200))
}

#[tokio::test]
async fn rows_come_newest_activity_first() {
    let server = Server::start().await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let with_brian = ada.direct(&brian).await;
    let with_carol = ada.direct(&carol).await;
    let group = ada.group("Three", &[&brian, &carol]).await;
    brian.say(&with_brian, "m1", "first").await;
    carol.say(&with_carol, "m1", "second").await;
    brian.say(&group, "m1", "third").await;
    assert_eq!(
        field(&inbox(&ada).await, "id"),
        [group.as_str(), &with_carol, &with_brian]
    );
    carol.say(&with_carol, "m2", "fourth").await;
    let rows = inbox(&ada).await;
    assert_eq!(field(&rows, "id"), [with_carol.as_str(), &group, &with_brian]);
    let row = &rows[0];
    assert_eq!((&row["kind"], &row["title"]), (&json!("direct"), &json!("Carol")));
    assert_eq!(row["peer"]["id"], carol.id.as_str());
    assert_eq!(
        (&row["head"], &row["unread"], &row["read"]),
        (&json!(2), &json!(2), &json!(0))
    );
    assert_eq!(row["last_message"]["body"], "fourth");
    assert_eq!(row["muted"], false);
    assert_eq!(
        (&rows[1]["kind"], &rows[1]["title"]),
        (&json!("group"), &json!("Three"))
    );
    assert_eq!(rows[1]["peer"], Value::Null);
}

#[tokio::test]
async fn pages_hold_every_conversation_once() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let mut expected = Vec::new();
    for n in 0..23 {
        let group = ada.group(&format!("Group {n}"), &[&brian]).await;
        ada.say(&group, "m", "hello").await;
        expected.insert(0, json!(group));
    }
    let (mut seen, mut path) = (Vec::new(), "/api/conversations?limit=10".to_owned());
    loop {
        let page = brian.get(&path).await.is(200);
        assert!(items(&page).len() <= 10);
        seen.extend(field(&items(&page), "id"));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/conversations?limit=10&cursor={next}");
    }
    assert_eq!(seen, expected);
    brian
        .get("/api/conversations?cursor=nonsense")
        .await
        .refuses(400, "bad_request");
    brian
        .get("/api/conversations?limit=x")
        .await
        .refuses(400, "bad_request");
}

#[tokio::test]
async fn a_direct_conversation_is_one_whoever_opens_it_and_however_often() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    assert_eq!(ada.direct(&brian).await, chat);
    assert_eq!(brian.direct(&ada).await, chat);
    let by_user = json!({"to": {"user": brian.id}, "id": "m1", "body": "hello"});
    assert_eq!(
        ada.post("/api/messages", by_user).await.is(201)["conversation"],
        chat.as_str()
    );
    let mut brians = brian.connect().await;
    let sent = brians
        .ok(json!({"t": "send", "to": {"user": ada.id}, "id": "m1", "body": "hi"}))
        .await;
    assert_eq!((&sent["conversation"], &sent["seq"]), (&json!(chat), &json!(2)));
    assert_eq!(inbox(&ada).await.len(), 1);
    for (body, code, status) in [
        (
            json!({"user": "0199aa00-0000-7000-8000-000000000000"}),
            "not_found",
            404,
        ),
        (json!({}), "invalid_field", 422),
    ] {
        ada.post("/api/conversations", body).await.refuses(status, code);
    }
    ada.post("/api/conversations", json!({"user": ada.id})).await.problem();
}

#[tokio::test]
async fn muting_and_pinning_are_each_users_own() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    ada.say(&chat, "m", "hello").await;
    let path = format!("/api/conversations/{chat}");
    let until = "2099-01-01T00:00:00.000Z";
    ada.patch(&path, json!({"muted_until": until, "pinned": true}))
        .await
        .succeeds();
    let row = ada.inbox_row(&chat).await.unwrap();
    assert_eq!((&row["muted"], &row["muted_until"]), (&json!(true), &json!(until)));
    assert_eq!(row["pinned"], true);
    assert_eq!(brian.inbox_row(&chat).await.unwrap()["muted"], false);
    ada.patch(&path, json!({"muted_until": "2001-01-01T00:00:00.000Z"}))
        .await
        .succeeds();
    let row = ada.inbox_row(&chat).await.unwrap();
    assert_eq!(
        (&row["muted"], &row["pinned"]),
        (&json!(false), &json!(true)),
        "what is not named stays"
    );
    ada.patch(&path, json!({"muted_until": null})).await.succeeds();
    assert_eq!(ada.inbox_row(&chat).await.unwrap()["muted"], false);
    ada.patch(&path, json!({"muted_until": "tomorrow"})).await.problem();
}
