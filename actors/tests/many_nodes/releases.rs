//! A node of a later release says what this one does not know: nobody waits in vain, and what else it says is heard. The
//! later node is played by the test, which sends bytes.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use rookery_actors::conversation::command::{Command, Record};
use rookery_actors::id::{ConnectionId, ConversationId, LoginId, UserId};
use rookery_actors::interchange::parcel::{Attach, Bag, Greeting, Parcel, Plug};
use rookery_actors::interchange::{Answer, Ask, Forwarded, Origin, Peer, Question, Reply};
use rookery_actors::ports::log::EventLog as _;
use rookery_actors::protocol::client::Request;
use rookery_actors::protocol::{ClientFrame, ErrorCode, ServerFrame, Target};
use rookery_actors::time::Timestamp;
use rookery_cluster::id::ShardId;
use rookery_cluster::membership::Epoch;
use rookery_cluster::wire::Wire as _;
use serde_json::{Value, json};

use crate::support::{Played, SHARDS, SOON, World, table};

/// Says something to `a` that has been changed to what `a` cannot read.
fn say(later: &Played, peer: &Peer, change: impl FnOnce(&mut Value)) {
    let mut value = rmp_serde::from_slice(&peer.encode()).unwrap();
    change(&mut value);
    let bytes: Bytes = rmp_serde::to_vec_named(&value).unwrap().into();
    assert!(Peer::decode(&bytes).is_err());
    later.send("a", bytes);
}

/// A record of the log in which a conversation is done something to that is not known.
fn later_record(conversation: ConversationId) -> Bytes {
    let record = Record {
        conversation,
        at: Timestamp(0),
        checked: None,
        writer: None,
        command: Command::Gone { user: UserId::fresh() },
    };
    let mut bytes = record.encode().to_vec();
    // The command is the last field: its tag, its length and the user. Field 30 in its place.
    bytes.truncate(bytes.len() - 18);
    bytes.extend([0xf2, 0x01, 1, 7]);
    bytes.into()
}

fn put(place: &'static str, what: Value) -> impl FnOnce(&mut Value) {
    move |value| *value.pointer_mut(place).unwrap() = what
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_and_not_known_is_to_be_asked_again() {
    let world = World::of(&["a"]).await;
    let later = world.play("later");
    let user = UserId::fresh();
    let origin = Origin::Node {
        node: "later".into(),
        ticket: 7,
        connection: None,
    };
    let ask = Ask {
        conversation: ConversationId::direct(user, UserId::fresh()),
        origin: origin.clone(),
        question: Question::Typing { user },
    };
    let forwarded = Forwarded {
        ask,
        epoch: Epoch(1),
        within_ms: 10_000,
    };
    say(
        &later,
        &Peer::Forward(Box::new(forwarded)),
        put("/Forward/ask/question", json!({"Sing": {"loud": true}})),
    );
    let answer = later.hear(|peer| match peer {
        Peer::Answer(answer) => Some(answer),
        _ => None,
    });
    let Answer { to, reply } = *answer.await;
    assert_eq!(to, origin);
    assert_eq!(reply.unwrap_err().code, ErrorCode::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_known_leaves_the_outcome_open() {
    let mut world = World::of(&["a"]).await;
    let later = world.play("later");
    world.place(&["a", "later"]).await;
    let owners = table(2, &["a", "later"]).placement;
    let ada = world.user_of("a");
    let is_later = |bob: &UserId| {
        let conversation = ConversationId::direct(ada, *bob);
        *owners.owner(ShardId::of(conversation.as_bytes(), SHARDS)) == "later".into()
    };
    let bob = std::iter::repeat_with(|| world.user_of("a")).find(is_later).unwrap();
    let ada = world.connect("a", ada, None).await;
    ada.send(Target::User(bob), "one");
    let asked = later.hear(|peer| match peer {
        Peer::Forward(forwarded) => Some(forwarded.ask.origin),
        _ => None,
    });
    let (to, since) = (asked.await, Instant::now());
    let answer = Answer {
        to,
        reply: Ok(Reply::Noted(true)),
    };
    say(
        &later,
        &Peer::Answer(Box::new(answer)),
        put("/Answer/reply/Ok", json!({"Sung": 3})),
    );
    let timed_out = |frame: &ServerFrame| matches!(frame, ServerFrame::Error { id: Some(id), code: ErrorCode::Timeout, .. } if id == "one");
    ada.socket.wait("a timeout", |got| got.iter().any(timed_out)).await;
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parcel_that_is_not_known_spoils_no_other() {
    let world = World::of(&["a"]).await;
    let later = world.play("later");
    let plug = Plug {
        connection: ConnectionId(77),
        attempt: 1,
    };
    let attach = Parcel::Attach(Box::new(Attach {
        plug,
        epoch: Epoch(2),
        gateway: "later".into(),
        user: world.user_of("a"),
        login: LoginId::fresh(),
        device: None,
        device_name: "test".into(),
        since: Timestamp::now(),
        greeting: Greeting::Hello,
    }));
    let bag = |number, parcel| {
        Peer::Bag(Bag {
            stream: 1,
            number,
            parcels: vec![parcel],
        })
    };
    let add = |strange: Value| {
        move |value: &mut Value| {
            let parcels = value.pointer_mut("/Bag/parcels").unwrap();
            parcels.as_array_mut().unwrap().insert(0, strange);
        }
    };
    say(&later, &bag(0, attach), add(json!({"Wave": [plug]})));
    let attached = |parcel: &Parcel| matches!(parcel, Parcel::Attached(of, _) if *of == plug);
    later
        .hear(|peer| matches!(peer, Peer::Bag(bag) if bag.parcels.iter().any(attached)).then_some(()))
        .await;
    let conversation = ConversationId::direct(UserId::fresh(), UserId::fresh());
    let known = Request {
        id: Some("known".into()),
        frame: ClientFrame::Delete { conversation, seq: 1 },
    };
    let sing = json!({"Frame": [plug, {"t": "sing", "id": "strange", "loud": true}]});
    say(&later, &bag(1, Parcel::Frame(plug, Box::new(known))), add(sing));
    let mut refused = HashMap::new();
    let both = later.hear(|peer| {
        let Peer::Bag(bag) = peer else { return None };
        for frame in bag.parcels.iter().flat_map(pushed) {
            if let ServerFrame::Error { id: Some(id), code, .. } = frame {
                refused.insert(id.clone(), *code);
            }
        }
        (refused.len() == 2).then(|| (refused["known"], refused["strange"]))
    });
    assert_eq!(both.await, (ErrorCode::NotFound, ErrorCode::Unavailable));
}

/// The frames of a parcel, which must not end the socket's attachment.
fn pushed(parcel: &Parcel) -> &[ServerFrame] {
    assert!(!matches!(parcel, Parcel::Refused(..) | Parcel::Close(..)), "{parcel:?}");
    match parcel {
        Parcel::Push { frames, .. } => frames.frames(),
        _ => &[],
    }
}

/// Were it skipped, the conversation would go on here as it would nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_with_a_record_that_is_not_known_stands_still_and_no_other_does() {
    let mut world = World::of(&["a"]).await;
    let of_user = |user: UserId| ShardId::of(user.as_bytes(), SHARDS);
    let with = |ada, peer| ShardId::of(ConversationId::direct(ada, peer).as_bytes(), SHARDS);
    let ada = world.user_of("a");
    let elsewhere = |spoilt: ShardId| spoilt != of_user(ada);
    let users = || std::iter::repeat_with(|| world.user_of("a"));
    let bob = users().find(|bob| elsewhere(with(ada, *bob))).unwrap();
    let spoilt = with(ada, bob);
    let eve = users().find(|eve| with(ada, *eve) != spoilt).unwrap();
    let client = world.connect("a", ada, None).await;
    assert_eq!(client.sent(Target::User(bob), "one").await, 1);
    let conversation = ConversationId::direct(ada, bob);
    world
        .services
        .log
        .writer()
        .append(spoilt, later_record(conversation), 0);
    client.send(Target::User(bob), "two");
    assert_eq!(client.sent(Target::User(eve), "first").await, 1);
    // Nor does a node that reads the log from the start pass it.
    world.start("b").await;
    world.place(&["b"]).await;
    assert_eq!(client.sent(Target::User(eve), "second").await, 2);
    let refused = |frame: &ServerFrame| match frame {
        ServerFrame::Error { id: Some(id), code, .. } if id == "two" => {
            matches!(code, ErrorCode::Timeout | ErrorCode::Unavailable)
        }
        _ => false,
    };
    client.socket.wait("a refusal", |got| got.iter().any(refused)).await;
    let sent = |frame: &ServerFrame| matches!(frame, ServerFrame::Sent { id, .. } if id == "two");
    assert_eq!(client.socket.count(sent), 0);
}
