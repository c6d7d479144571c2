//! History pages by seq: newest first before a point, oldest first after one, and says whether there is more.

use serde_json::{Value, json};

use crate::support::{Server, User, items, number};

async fn page(user: &User, chat: &str, query: &str) -> (Vec<u64>, bool) {
    let page = user.get(&format!("/api/messages/{chat}{query}")).await.is(200);
    assert_eq!(page["next"], Value::Null, "history pages by seq");
    let seqs = items(&page).iter().map(|message| number(&message["seq"])).collect();
    (seqs, page["more"].as_bool().unwrap())
}

fn down(from: u64, to: u64) -> Vec<u64> {
    (to..=from).rev().collect()
}

fn up(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}

async fn filled(server: &Server, count: u64) -> (User, User, String) {
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    ada.connect().await.pour(&chat, 1..=count, "text").await;
    (ada, brian, chat)
}

#[tokio::test]
async fn pages_go_back_from_the_newest_and_forward_from_a_point() {
    let server = Server::start().await;
    let (_, brian, chat) = filled(&server, 250).await;
    assert_eq!(page(&brian, &chat, "").await, (down(250, 151), true));
    assert_eq!(page(&brian, &chat, "?limit=10").await, (down(250, 241), true));
    assert_eq!(page(&brian, &chat, "?before=11&limit=10").await, (down(10, 1), false));
    assert_eq!(page(&brian, &chat, "?before=12&limit=10").await, (down(11, 2), true));
    assert_eq!(page(&brian, &chat, "?before=1").await, (vec![], false));
    assert_eq!(page(&brian, &chat, "?after=0&limit=3").await, (up(1, 3), true));
    assert_eq!(page(&brian, &chat, "?after=240&limit=10").await, (up(241, 250), false));
    assert_eq!(page(&brian, &chat, "?after=250").await, (vec![], false));
    assert_eq!(page(&brian, &chat, "?after=99999").await, (vec![], false));
    assert_eq!(
        page(&brian, &chat, "?before=99999&limit=2").await,
        (down(250, 249), true)
    );
}

#[tokio::test]
async fn limits_are_clamped_and_nonsense_is_a_bad_request() {
    let server = Server::start().await;
    let (_, brian, chat) = filled(&server, 120).await;
    assert_eq!(page(&brian, &chat, "?limit=0").await.0.len(), 1);
    assert_eq!(page(&brian, &chat, "?limit=-5").await.0.len(), 1);
    assert_eq!(page(&brian, &chat, "?limit=99999").await, (down(120, 1), false));
    for query in ["?before=5&after=2", "?limit=many", "?before=-1", "?after=x"] {
        let reply = brian.get(&format!("/api/messages/{chat}{query}")).await;
        reply.refuses(400, "bad_request");
    }
    assert_eq!(page(&brian, &chat, "?unknown=1&limit=1").await.0, [120]);
    brian.get("/api/messages/nonsense").await.refuses(404, "not_found");
}

#[tokio::test]
async fn the_history_frame_answers_as_http_does() {
    let server = Server::start().await;
    let (_, brian, chat) = filled(&server, 30).await;
    let mut socket = brian.connect().await;
    for (query, frame) in [
        ("?limit=500", json!({"limit": 500})),
        ("?before=20&limit=7", json!({"before": 20, "limit": 7})),
        ("?after=20&limit=7", json!({"after": 20, "limit": 7})),
        ("?limit=0", json!({"limit": 0})),
    ] {
        let http = brian.get(&format!("/api/messages/{chat}{query}")).await.is(200);
        let mut request = json!({"t": "history", "conversation": chat});
        request
            .as_object_mut()
            .unwrap()
            .extend(frame.as_object().unwrap().clone());
        let answer = socket.ok(request).await;
        assert_eq!(answer["t"], "history");
        assert_eq!((&answer["messages"], &answer["more"]), (&http["items"], &http["more"]));
    }
    let both = json!({"t": "history", "conversation": chat, "before": 5, "after": 1});
    socket.refused(both, "bad_request").await;
}

#[tokio::test]
async fn a_message_carries_everything_it_was_sent_with() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Whole", &[&brian]).await;
    let file = crate::files_reach_their_readers::upload(&ada, "a.txt", "text/plain", b"a").await;
    let mut brians = brian.connect().await;
    let data = json!({"nested": {"list": [1, 2.5, "ü", null, true]}, "empty": {}});
    let message = json!({
        "to": {"conversation": group}, "id": "whole", "body": "line one\nline two — ünïcødé 🦜",
        "data": data, "attachments": [file], "mentions": [brian.id],
    });
    let answered = ada.post("/api/messages", message.clone()).await.is(201);
    let live = brians.message(&group).await;
    let stored = brian.whole_history(&group).await.remove(0);
    for seen in [&answered, &live, &stored] {
        assert_eq!((&seen["conversation"], &seen["seq"]), (&json!(group), &json!(1)));
        assert_eq!((&seen["id"], &seen["from"]), (&json!("whole"), &json!(ada.id)));
        for same in ["body", "data", "attachments", "mentions"] {
            assert_eq!(seen[same], message[same], "{same}");
        }
        assert_eq!(seen["at"], stored["at"]);
    }
}

#[tokio::test]
async fn history_is_whole_after_a_restart() {
    let mut server = Server::start().await;
    let (_, brian, chat) = filled(&server, 130).await;
    let before = brian.whole_history(&chat).await;
    server.stop().await;
    server.start_again().await;
    assert_eq!(brian.whole_history(&chat).await, before);
    assert_eq!(page(&brian, &chat, "?before=41&limit=40").await, (down(40, 1), false));
}
