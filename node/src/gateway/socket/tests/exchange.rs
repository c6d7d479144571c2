//! What goes back and forth while a socket lives.

use super::*;

#[tokio::test]
async fn ping_is_answered_here_and_other_frames_reach_the_session() {
    let rig = Rig::new(Limits::default()).await;
    let mut client = rig.connect().await;
    client.send(Opcode::Text, br#"{"t":"ping","id":"a"}"#).await;
    assert_eq!(client.next_json().await, serde_json::json!({"t": "pong", "id": "a"}));
    client.send(Opcode::Ping, b"hello").await;
    assert_eq!(client.next().await, Some((Opcode::Pong, b"hello".to_vec())));
    let typing = br#"{"t":"typing","conversation":"01890000-0000-7000-8000-000000000000"}"#;
    client.send(Opcode::Text, typing).await;
    rig.until("the frame reaches the session", |rig| {
        rig.log.requests.lock().len() == 1
    })
    .await;
    for (sent, code) in [("{\"t\":\"sing\",\"id\":\"b\"}", "unsupported"), ("{", "bad_request")] {
        client.send(Opcode::Text, sent.as_bytes()).await;
        assert_eq!(client.next_json().await["code"], code);
    }
}

#[tokio::test]
async fn bytes_that_came_with_the_upgrade_are_frames_too() {
    let rig = Rig::new(Limits::default()).await;
    let early = masked(Opcode::Ping, b"early");
    let mut client = rig.connect_with(caller(), Codec::Json, &early[..3]).await;
    client.stream.write_all(&early[3..]).await.unwrap();
    assert_eq!(client.next().await, Some((Opcode::Pong, b"early".to_vec())));
}

#[tokio::test]
async fn pushes_arrive_in_order_and_whole() {
    let rig = Rig::new(Limits::default()).await;
    let mut client = rig.connect().await;
    let outlet = rig.outlet();
    for length in 0..500 {
        assert_eq!(outlet.push(&frame(length % 300), Urgency::Sequenced), Pushed::Taken);
    }
    for length in 0..500 {
        let pong = client.next_json().await;
        assert_eq!(pong["id"].as_str().map(str::len), Some(length % 300));
    }
}

#[tokio::test]
async fn a_slow_reader_is_refused_and_hears_of_the_end_of_it() {
    slow_reader(Rig::new(Limits::default()).await).await;
}

pub(super) async fn slow_reader(rig: Rig) {
    let mut client = rig.connect().await;
    let outlet = rig.outlet();
    let mut taken = 0;
    loop {
        match outlet.push(&frame(10_000), Urgency::Sequenced) {
            Pushed::Taken => taken += 1,
            Pushed::Full => break,
            Pushed::Closed => panic!("closed too early"),
        }
        assert!(taken < 100_000, "never full");
        tokio::task::yield_now().await;
    }
    assert_eq!(outlet.push(&frame(10_000), Urgency::Ephemeral), Pushed::Full);
    assert_eq!(outlet.push(&frame(10), Urgency::Answer), Pushed::Taken);
    assert_eq!(rig.log.drained.load(SeqCst), 0);
    for _ in 0..=taken {
        client.next_json().await;
    }
    rig.until("the session hears that all is written", |rig| {
        rig.log.drained.load(SeqCst) == 1
    })
    .await;
    assert_eq!(outlet.push(&frame(10), Urgency::Sequenced), Pushed::Taken);
    client.next_json().await;
}

#[tokio::test]
async fn reauth_takes_only_a_token_of_the_same_login() {
    let rig = Rig::new(Limits::default()).await;
    let expiring = Caller {
        expires: Instant::now() + Duration::from_secs(1),
        ..caller()
    };
    let mut client = rig.connect_with(expiring, Codec::Json, b"").await;
    for token in ["bad", "other"] {
        let reauth = serde_json::json!({"t": "reauth", "id": token, "token": token});
        client.send(Opcode::Text, reauth.to_string().as_bytes()).await;
        assert_eq!(client.next_json().await["code"], "unauthorized");
    }
    client
        .send(Opcode::Text, br#"{"t":"reauth","id":"r","token":"good"}"#)
        .await;
    assert_eq!(client.next_json().await, serde_json::json!({"t": "ok", "id": "r"}));
    let expired = tokio::time::timeout(Duration::from_secs(4), client.closed()).await;
    assert!(
        expired.is_err(),
        "the fresh token keeps the socket beyond the old one's expiry"
    );
}

#[tokio::test]
async fn a_pong_keeps_a_socket() {
    let limits = Limits {
        heartbeat_seconds: 1,
        idle_seconds: 3,
        ..Limits::default()
    };
    let rig = Rig::new(limits).await;
    let mut client = rig.connect().await;
    for _ in 0..5 {
        assert_eq!(client.next().await, Some((Opcode::Ping, Vec::new())));
        client.send(Opcode::Pong, b"").await;
    }
}

#[tokio::test]
async fn frames_beyond_the_budget_are_refused() {
    let limits = Limits {
        frames_burst: 3,
        frames_per_second: 1,
        ..Limits::default()
    };
    let rig = Rig::new(limits).await;
    let mut client = rig.connect().await;
    for _ in 0..4 {
        client.send(Opcode::Text, br#"{"t":"ping","id":"p"}"#).await;
    }
    for _ in 0..3 {
        assert_eq!(client.next_json().await["t"], "pong");
    }
    let refused = client.next_json().await;
    assert_eq!(
        (&refused["code"], &refused["id"]),
        (&"rate_limited".into(), &"p".into())
    );
    assert!(refused["retry_after_ms"].as_u64().is_some());
}
