//! How sockets end, and with which code.

use rookery_actors::testkit::clock;

use super::*;

#[tokio::test]
async fn a_reader_that_takes_nothing_is_closed_as_too_slow() {
    let limits = Limits {
        write_deadline_seconds: 1,
        ..Limits::default()
    };
    let rig = Rig::new(limits).await;
    let mut client = rig.connect().await;
    let outlet = rig.outlet();
    // A full queue alone is no deaf client: the kernel may take what waits.
    rig.until("it is closed", |_| {
        while outlet.push(&frame(10_000), Urgency::Sequenced) == Pushed::Taken {}
        outlet.push(&frame(10_000), Urgency::Sequenced) == Pushed::Closed
    })
    .await;
    // A client that begins to read within the grace period still learns why.
    assert_eq!(client.closed().await, Some(4008));
    rig.until("it is forgotten", |rig| rig.hub.connections() == 0).await;
    assert_eq!(rig.log.detached.load(SeqCst), 1);
}

#[tokio::test]
async fn what_waits_is_written_before_the_close_frame() {
    let rig = Rig::new(Limits::default()).await;
    let mut client = rig.connect().await;
    let outlet = rig.outlet();
    outlet.push(&frame(5), Urgency::Sequenced);
    outlet.close(CloseCode::LoggedOut);
    outlet.close(CloseCode::Idle);
    assert_eq!(outlet.push(&frame(5), Urgency::Sequenced), Pushed::Closed);
    assert_eq!(client.next_json().await["t"], "pong");
    assert_eq!(client.closed().await, Some(4001));
    rig.until("it is forgotten", |rig| rig.hub.connections() == 0).await;
    assert_eq!(rig.log.detached.load(SeqCst), 1);
}

#[tokio::test]
async fn after_a_close_the_client_can_do_nothing_more() {
    let rig = Rig::new(Limits::default()).await;
    let mut client = rig.connect().await;
    rig.outlet().close(CloseCode::LoggedOut);
    let typing = br#"{"t":"typing","conversation":"01890000-0000-7000-8000-000000000000"}"#;
    client.send(Opcode::Text, typing).await;
    assert_eq!(client.closed().await, Some(4001));
    rig.until("it is forgotten", |rig| rig.hub.connections() == 0).await;
    assert!(rig.log.requests.lock().is_empty());
}

#[tokio::test]
async fn a_close_of_the_client_is_echoed() {
    let rig = Rig::new(Limits::default()).await;
    let mut client = rig.connect().await;
    let mut payload = BytesMut::new();
    close_payload(1000, "done", &mut payload);
    client.send(Opcode::Close, &payload).await;
    assert_eq!(client.closed().await, Some(1000));
    rig.until("it is forgotten", |rig| rig.hub.connections() == 0).await;
}

#[tokio::test]
async fn a_socket_that_just_goes_away_is_detached_once() {
    let rig = Rig::new(Limits::default()).await;
    let client = rig.connect().await;
    drop(client);
    rig.until("it is forgotten", |rig| rig.hub.connections() == 0).await;
    assert_eq!(rig.log.detached.load(SeqCst), 1);
    assert_eq!(rig.outlet().push(&frame(1), Urgency::Answer), Pushed::Closed);
}

#[tokio::test]
async fn broken_frames_end_with_their_code() {
    let rig = Rig::new(Limits::default()).await;
    let too_big = [0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1];
    let cases: [(&[u8], u16); 6] = [
        (&[0x81, 0x01, b'x'], 4000),
        (&[0xC1, 0x80, 0, 0, 0, 0], 4000),
        (&[0x01, 0x80, 0, 0, 0, 0], 1009),
        (&too_big, 1009),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
        (&[0x82, 0x80, 0, 0, 0, 0], 1003),
    ];
    for (bytes, code) in cases {
        let mut client = rig.connect().await;
        client.stream.write_all(bytes).await.unwrap();
        assert_eq!(client.closed().await, Some(code), "{bytes:x?}");
    }
    let mut client = rig.connect_with(caller(), Codec::MsgPack, b"").await;
    client.send(Opcode::Text, b"{}").await;
    assert_eq!(client.closed().await, Some(1003));
}

#[tokio::test]
async fn an_expired_token_ends_its_socket() {
    let rig = Rig::new(Limits::default()).await;
    let expired = Caller {
        expires: Instant::now(),
        ..caller()
    };
    let mut client = rig.connect_with(expired, Codec::Json, b"").await;
    assert_eq!(client.closed().await, Some(4002));
}

#[tokio::test]
async fn a_wall_clock_that_jumps_ends_no_socket() {
    let limits = Limits {
        heartbeat_seconds: 1,
        ..Limits::default()
    };
    let rig = Rig::new(limits).await;
    let mut client = rig.connect().await;
    for hours in [24, -48] {
        clock::jump(hours * 3_600_000);
        // The wheel has come by since.
        assert_eq!(client.next().await, Some((Opcode::Ping, Vec::new())));
        client.send(Opcode::Pong, b"").await;
        assert_eq!(client.next().await, Some((Opcode::Ping, Vec::new())));
        client.send(Opcode::Pong, b"").await;
    }
}

#[tokio::test]
async fn a_silent_socket_is_pinged_and_then_closed_as_idle() {
    let limits = Limits {
        heartbeat_seconds: 1,
        idle_seconds: 3,
        ..Limits::default()
    };
    let rig = Rig::new(limits).await;
    let mut client = rig.connect().await;
    assert_eq!(client.next().await, Some((Opcode::Ping, Vec::new())));
    assert_eq!(client.closed().await, Some(4010));
}

#[tokio::test]
async fn a_session_that_cannot_be_had_closes_with_a_code() {
    let rig = Rig::with(Limits::default(), true).await;
    let mut client = rig.connect().await;
    assert_eq!(client.closed().await, Some(4503));
    rig.until("it is forgotten", |rig| rig.hub.connections() == 0).await;
}
