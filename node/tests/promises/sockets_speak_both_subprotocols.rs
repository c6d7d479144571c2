//! Both subprotocols carry the same objects, the token comes in either way, and what is wrong with the opening is said before
//! the upgrade.

use serde_json::{Value, json};

use crate::support::{Client, Codec, Server, User};

/// An exchange that touches most frames; answers everything both sides were told, without what differs by time and socket.
async fn exchange(ada: &User, brian: &User, codec: Codec) -> Vec<Value> {
    let open = |user: &User| match codec {
        Codec::Json => user.socket(),
        Codec::MsgPack => user.socket().msgpack(),
    };
    let group = ada.group("Codec", &[brian]).await;
    let (mut adas, mut brians) = (open(ada).open().await, open(brian).open().await);
    let data = json!({"n": 1, "f": 0.5, "s": "ü", "l": [null, true], "big": 9_007_199_254_740_993u64, "neg": -3});
    let frames = [
        json!({"t": "send", "to": {"conversation": group}, "id": "m1", "body": "hello 🦜", "data": data}),
        json!({"t": "send", "to": {"conversation": group}, "id": "m2", "body": "re", "reply_to": 1, "mentions": [brian.id]}),
        json!({"t": "edit", "id": "r1", "conversation": group, "seq": 1, "body": "hello!"}),
        json!({"t": "react", "id": "r2", "conversation": group, "seq": 1, "emoji": "👍"}),
        json!({"t": "delete", "id": "r3", "conversation": group, "seq": 2}),
        json!({"t": "history", "id": "r4", "conversation": group}),
        json!({"t": "ping", "id": "r5"}),
        json!({"t": "edit", "id": "r6", "conversation": group, "seq": 77, "body": "x"}),
        json!({"t": "nonsense", "id": "r7"}),
    ];
    let mut told = vec![adas.hello.clone()];
    for frame in frames {
        told.push(adas.request(frame).await);
    }
    told.extend(brians.stream(&group, 1, 5).await);
    adas.typing(&group);
    told.push(brians.expect_t("typing").await);
    brians.read(&group, 5);
    told.push(adas.expect_t("receipt").await);
    let text = serde_json::to_string(&told).unwrap().replace(&group, "GROUP");
    let mut told: Vec<Value> = serde_json::from_str(&text).unwrap();
    told.iter_mut().for_each(forget_what_differs);
    told
}

fn forget_what_differs(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if ["at", "edited_at", "device", "connection"].contains(&name.as_str()) {
                    *field = json!("differs");
                } else {
                    forget_what_differs(field);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(forget_what_differs),
        _ => {}
    }
}

#[tokio::test]
async fn json_and_msgpack_carry_the_same_objects() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let by_json = exchange(&ada, &brian, Codec::Json).await;
    let by_msgpack = exchange(&ada, &brian, Codec::MsgPack).await;
    assert_eq!(by_json, by_msgpack);
}

#[tokio::test]
async fn the_two_talk_to_each_other() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let (mut adas, mut brians) = (ada.connect().await, brian.socket().msgpack().open().await);
    adas.say(&chat, "from json").await;
    assert_eq!(brians.message(&chat).await["body"], "from json");
    brians.say(&chat, "from msgpack").await;
    assert_eq!(adas.message(&chat).await["body"], "from msgpack");
}

#[tokio::test]
async fn the_subprotocol_is_chosen_among_those_offered() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    for (offered, chosen) in [
        (&[][..], None),
        (&["rookery.v1.json"][..], Some("rookery.v1.json")),
        (&["rookery.v1.msgpack"][..], Some("rookery.v1.msgpack")),
        (&["unknown", "rookery.v1.msgpack"][..], Some("rookery.v1.msgpack")),
    ] {
        let client = ada.socket().protocols(offered).open().await;
        assert_eq!(client.protocol.as_deref(), chosen, "of {offered:?}");
    }
}

#[tokio::test]
async fn a_browser_brings_its_token_as_a_subprotocol() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let bearer = format!("bearer.{}", ada.access);
    for protocol in ["rookery.v1.json", "rookery.v1.msgpack"] {
        let opening = ada.socket().without_token().protocols(&[protocol, &bearer]);
        let client = opening.open().await;
        assert_eq!(client.protocol.as_deref(), Some(protocol), "the token is never echoed");
        assert_eq!(client.user, ada.id);
    }
    let only_token = ada.socket().without_token().protocols(&[&bearer]).open_silently().await;
    assert_ne!(
        only_token.protocol.as_deref(),
        Some(bearer.as_str()),
        "the token is never echoed"
    );
}

#[tokio::test]
async fn a_bad_token_is_refused_before_the_upgrade() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let nothing = ada.socket().without_token();
    nothing.clone().refused().await.refuses(401, "unauthorized");
    for token in ["", "nonsense", &ada.refresh, &format!("{}x", ada.access)] {
        ada.socket().token(token).refused().await.refuses(401, "unauthorized");
        let bearer = format!("bearer.{token}");
        let offered = nothing.clone().protocols(&["rookery.v1.json", &bearer]);
        offered.refused().await.refuses(401, "unauthorized");
    }
}

#[tokio::test]
async fn what_is_no_websocket_opening_is_told_to_upgrade() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let reply = ada.get("/ws").await;
    reply.refuses(426, "unsupported");
    assert_eq!(
        reply.header("upgrade").map(str::to_lowercase).as_deref(),
        Some("websocket")
    );
    let old = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "8"),
    ];
    let reply = ada.http().raw("GET", "/ws", &old, "").await;
    assert!(
        reply.status == 426 || reply.status == 400,
        "version 8: {}",
        reply.status
    );
    reply.problem();
    ada.post("/ws", json!({})).await.refuses(405, "unsupported");
}

#[tokio::test]
async fn hello_tells_the_limits_and_who_is_connected() {
    let settings = [("LIMITS__BODY_BYTES", "1234"), ("LIMITS__WATCH_USERS", "77")];
    let server = Server::with(&settings).await;
    let ada = server.user("Ada").await;
    let client = ada.connect().await;
    let hello = &client.hello;
    assert_eq!(hello["user"], ada.id.as_str());
    for name in ["device", "connection", "node"] {
        assert!(hello[name].is_string(), "{hello}");
    }
    assert_eq!(hello["heartbeat_s"], 30);
    assert_eq!(
        (&hello["limits"]["body_bytes"], &hello["limits"]["watch_users"]),
        (&json!(1234), &json!(77))
    );
    for key in [
        "data_bytes",
        "frame_bytes",
        "attachments_per_message",
        "file_bytes",
        "messages_per_second",
    ] {
        assert!(hello["limits"][key].is_u64(), "{key} in {hello}");
    }
    assert!(client.sync.is_empty(), "an empty inbox has an empty sync");
}

#[tokio::test]
async fn pings_of_both_kinds_are_answered() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let mut client: Client = ada.connect().await;
    client.write_frame(0x89, b"are you there");
    client.pong(b"are you there").await;
    client.write_frame(0x89, b"");
    client.pong(b"").await;
    client.write(&json!({"t": "ping"}));
    let pong = client.expect_t("pong").await;
    assert_eq!(pong["id"], Value::Null);
    let pong = client.request(json!({"t": "ping", "id": "x"})).await;
    assert_eq!((&pong["t"], &pong["id"]), (&json!("pong"), &json!("x")));
    client.close().await;
}
