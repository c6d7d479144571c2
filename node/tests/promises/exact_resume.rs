//! Exact resume: a device that reconnects gets exactly what lies beyond its cursor, or a `gap` that names the range.

use serde_json::{Value, json};

use crate::support::{Client, Server, User, field, number};

async fn fill(sender: &User, conversation: &str, messages: std::ops::RangeInclusive<u64>) {
    sender.connect().await.pour(conversation, messages, "text").await;
}

fn seqs(frames: &[Value]) -> Vec<u64> {
    frames.iter().map(|frame| number(&frame["seq"])).collect()
}

/// Acknowledges and makes sure that the server has taken it.
async fn ack(client: &mut Client, conversation: &str, seq: u64) {
    client.ack(conversation, seq);
    client.settle().await;
}

#[tokio::test]
async fn a_device_gets_exactly_what_it_missed() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut phone = brian.connect().await;
    assert_eq!(phone.news(&chat), None, "an empty conversation is no news");
    fill(&ada, &chat, 1..=10).await;
    assert_eq!(seqs(&phone.stream(&chat, 1, 10).await), (1..=10).collect::<Vec<_>>());
    ack(&mut phone, &chat, 7).await;
    let device = phone.device.clone();
    phone.close().await;
    fill(&ada, &chat, 11..=20).await;

    let mut phone = brian.connect_as(&device).await;
    assert_eq!(phone.device, device);
    let news = phone.news(&chat).unwrap().clone();
    assert_eq!(news["kind"], "direct");
    assert_eq!(news["title"], "Ada");
    assert_eq!(
        (&news["head"], &news["delivered"], &news["read"]),
        (&json!(20), &json!(7), &json!(0))
    );
    assert_eq!(news["unread"], 20);
    let missed = phone.stream(&chat, 8, 20).await;
    assert_eq!(missed.len(), 13);
    for message in &missed {
        assert_eq!(message["t"], "message");
        assert_eq!(message["from"], ada.id.as_str());
        assert_eq!(message["id"], format!("m{}", message["seq"]));
    }
    ack(&mut phone, &chat, 20).await;
    phone.close().await;

    let mut phone = brian.connect_as(&device).await;
    assert_eq!(
        phone.news(&chat),
        None,
        "nothing is news after everything was acknowledged"
    );
    phone.has_no("message").await;
    assert_eq!(ada.say(&chat, "live", "live").await, 21);
    assert_eq!(phone.message(&chat).await["seq"], 21);
}

#[tokio::test]
async fn live_messages_join_what_was_missed_without_a_seam() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    fill(&ada, &chat, 1..=60).await;
    for _ in 0..5 {
        let head = number(&ada.inbox_row(&chat).await.unwrap()["head"]);
        let sending = fill(&ada, &chat, head + 1..=head + 40);
        let resuming = async {
            let mut device = brian.connect().await;
            let first = number(&device.news(&chat).unwrap()["head"]).saturating_sub(100) + 1;
            let mut all = device.stream(&chat, 1, head + 40).await;
            all.retain(|frame| frame["t"] == "message");
            assert!(
                number(&all[0]["seq"]) <= first.max(head.saturating_sub(60)).max(1),
                "too large a gap"
            );
        };
        tokio::join!(sending, resuming);
    }
}

#[tokio::test]
async fn a_new_device_starts_at_the_beginning() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    fill(&ada, &chat, 1..=5).await;
    for known in [None, Some("0199aa00-0000-7000-8000-000000000000"), Some("nonsense")] {
        let socket = brian.socket();
        let socket = known.map_or(socket.clone(), |device| socket.device(device));
        let mut device = socket.open().await;
        assert_ne!(Some(device.device.as_str()), known, "a new device is made");
        assert_eq!(device.stream(&chat, 1, 5).await.len(), 5);
        ack(&mut device, &chat, 5).await;
    }
    let mut adas = ada.connect().await;
    assert_eq!(
        adas.stream(&chat, 1, 5).await.len(),
        5,
        "one's own messages are replayed too"
    );
}

#[tokio::test]
async fn another_login_does_not_get_the_device() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let mut phone = brian.connect().await;
    let device = phone.device.clone();
    assert_ne!(brian.log_in_again().await.connect_as(&device).await.device, device);
    assert_ne!(ada.connect_as(&device).await.device, device);
    phone.settle().await;
}

#[tokio::test]
async fn a_device_cursor_starts_at_the_head_of_a_conversation_that_is_joined() {
    let server = Server::start().await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let group = ada.group("Late", &[&brian]).await;
    fill(&ada, &group, 1..=5).await;
    let device = carol.connect().await.device.clone();
    let add = json!({"users": [carol.id]});
    ada.post(&format!("/api/groups/{group}/members"), add).await.succeeds();
    fill(&ada, &group, 6..=8).await;
    let mut carols = carol.connect_as(&device).await;
    assert_eq!(carols.news(&group).unwrap()["delivered"], 5);
    assert_eq!(seqs(&carols.stream(&group, 6, 8).await), [6, 7, 8]);
    assert_eq!(carol.whole_history(&group).await.len(), 8, "history has the rest");
}

#[tokio::test]
async fn beyond_a_hundred_missed_messages_the_older_ones_are_a_gap() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    fill(&ada, &chat, 1..=130).await;
    let mut device = brian.connect().await;
    let frames = device.stream(&chat, 1, 130).await;
    assert_eq!(frames[0]["t"], "gap");
    assert_eq!((&frames[0]["from"], &frames[0]["to"]), (&json!(1), &json!(30)));
    assert_eq!(seqs(&frames[1..]), (31..=130).collect::<Vec<_>>());
    let request = json!({"t": "history", "conversation": chat, "after": 0, "limit": 30});
    let history = device.ok(request).await;
    assert_eq!(
        seqs(history["messages"].as_array().unwrap()),
        (1..=30).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn in_all_no_more_than_the_total_is_replayed_latest_activity_first() {
    let limits = [("LIMITS__SYNC_MESSAGES", "10"), ("LIMITS__SYNC_MESSAGES_TOTAL", "25")];
    let server = Server::with(&limits).await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let mut groups = Vec::new();
    for n in 0..4 {
        let group = ada.group(&format!("Group {n}"), &[&brian]).await;
        fill(&ada, &group, 1..=12).await;
        groups.push(group);
    }
    groups.reverse();
    let mut device = brian.connect().await;
    assert_eq!(field(&device.sync, "id"), groups, "latest activity first");
    for (group, replayed) in groups.iter().zip([10, 10, 5, 0]) {
        let frames = device.stream(group, 1, 12).await;
        let messages = frames.iter().filter(|frame| frame["t"] == "message").count();
        assert_eq!(messages, replayed, "{frames:?}");
    }
}

#[tokio::test]
async fn a_sync_in_several_frames_names_every_conversation_once() {
    let limits = [("LIMITS__SYNC_MESSAGES", "1"), ("LIMITS__SYNC_MESSAGES_TOTAL", "10")];
    let server = Server::with(&limits).await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let mut groups = Vec::new();
    for n in 0..250 {
        let group = ada.group(&format!("Group {n}"), &[&brian]).await;
        ada.say(&group, "m", "hello").await;
        groups.push(json!(group));
    }
    let mut device = brian.connect().await;
    let mut named = field(&device.sync, "id");
    named.sort_by_key(|id| id.to_string());
    groups.sort_by_key(|id| id.to_string());
    assert_eq!(named, groups);
    for group in &groups {
        device.stream(group.as_str().unwrap(), 1, 1).await;
    }
}

#[tokio::test]
async fn an_ack_beyond_the_head_is_the_head_and_cursors_only_grow() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    fill(&ada, &chat, 1..=5).await;
    let mut phone = brian.connect().await;
    phone.stream(&chat, 1, 5).await;
    ack(&mut phone, &chat, 1_000_000).await;
    ack(&mut phone, &chat, 2).await;
    let device = phone.device.clone();
    phone.close().await;
    ada.say(&chat, "six", "six").await;
    let mut phone = brian.connect_as(&device).await;
    assert_eq!(phone.news(&chat).unwrap()["delivered"], 5);
    assert_eq!(seqs(&phone.stream(&chat, 6, 6).await), [6]);
}

#[tokio::test]
async fn reading_moves_no_device_cursor() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    fill(&ada, &chat, 1..=5).await;
    let mut phone = brian.connect().await;
    phone.stream(&chat, 1, 5).await;
    phone.read(&chat, 5);
    phone.settle().await;
    let device = phone.device.clone();
    phone.close().await;
    let mut phone = brian.connect_as(&device).await;
    let news = phone.news(&chat).unwrap();
    assert_eq!(
        (&news["delivered"], &news["read"], &news["unread"]),
        (&json!(5), &json!(5), &json!(0)),
        "read implies delivered"
    );
    phone.stream(&chat, 1, 5).await;
}

#[tokio::test]
async fn acknowledged_cursors_survive_a_stop_and_a_kill() {
    let mut server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    fill(&ada, &chat, 1..=9).await;
    let mut phone = brian.connect().await;
    phone.stream(&chat, 1, 9).await;
    ack(&mut phone, &chat, 6).await;
    let device = phone.device.clone();
    server.stop().await;
    server.start_again().await;
    let mut phone = brian.connect_as(&device).await;
    assert_eq!(phone.stream(&chat, 7, 9).await.len(), 3);
    ack(&mut phone, &chat, 9).await;
    // After a kill only what was acknowledged in the last second may come again.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    server.kill9();
    server.start_again().await;
    let mut phone = brian.connect_as(&device).await;
    assert_eq!(phone.device, device);
    phone.has_no("message").await;
}

#[tokio::test]
async fn updates_that_were_missed_are_replayed_in_their_place() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    fill(&ada, &chat, 1..=2).await;
    let mut adas = ada.connect().await;
    adas.ok(json!({"t": "edit", "conversation": chat, "seq": 1, "body": "better"}))
        .await;
    adas.ok(json!({"t": "react", "conversation": chat, "seq": 2, "emoji": "👍"}))
        .await;
    let mut brians = brian.connect().await;
    let frames = brians.stream(&chat, 1, 4).await;
    let kinds: Vec<_> = frames.iter().map(|frame| frame["t"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "message", "update", "update"]);
    assert_eq!((&frames[2]["of"], &frames[2]["body"]), (&json!(1), &json!("better")));
    assert_eq!((&frames[3]["of"], &frames[3]["emoji"]), (&json!(2), &json!("👍")));
}
