use proptest::option::of;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::id::{ConversationId, FileId, UserId};
use crate::protocol::{ClientFrame, Json, Send, Target};

const CODECS: [Codec; 2] = [Codec::Json, Codec::MsgPack];

fn conversation() -> impl Strategy<Value = ConversationId> {
    any::<u128>().prop_map(|id| ConversationId(Uuid::from_u128(id)))
}

fn user() -> impl Strategy<Value = UserId> {
    any::<u128>().prop_map(|id| UserId(Uuid::from_u128(id)))
}

fn send() -> impl Strategy<Value = ClientFrame> {
    let to = prop_oneof![
        user().prop_map(Target::User),
        conversation().prop_map(Target::Conversation)
    ];
    let files = prop::collection::vec(any::<u128>().prop_map(|id| FileId(Uuid::from_u128(id))), 0..3);
    let data = of(any::<i64>().prop_map(|number| Json::from(&serde_json::json!({ "n": [number, null] }))));
    let content = (of("\\PC{0,12}"), data, files, of(any::<u64>()));
    (to, content, prop::collection::vec(user(), 0..3)).prop_map(
        |(to, (body, data, attachments, reply_to), mentions)| {
            ClientFrame::Send(Box::new(Send {
                id: String::new(),
                to,
                body,
                data,
                attachments,
                reply_to,
                mentions,
            }))
        },
    )
}

/// Every kind of frame from a client.
fn request() -> impl Strategy<Value = Request> {
    let at = || (conversation(), any::<u64>());
    let frame = prop_oneof![
        send(),
        at().prop_map(|(conversation, seq)| ClientFrame::Ack { conversation, seq }),
        at().prop_map(|(conversation, seq)| ClientFrame::Read { conversation, seq }),
        conversation().prop_map(|conversation| ClientFrame::Typing { conversation }),
        (conversation(), of(any::<u64>()), of(any::<u64>()), of(any::<u32>())).prop_map(
            |(conversation, before, after, limit)| ClientFrame::History {
                conversation,
                before,
                after,
                limit
            }
        ),
        (at(), "\\PC{0,12}").prop_map(|((conversation, seq), body)| ClientFrame::Edit {
            conversation,
            seq,
            body
        }),
        at().prop_map(|(conversation, seq)| ClientFrame::Delete { conversation, seq }),
        (at(), "\\PC{0,4}", any::<bool>()).prop_map(|((conversation, seq), emoji, remove)| ClientFrame::React {
            conversation,
            seq,
            emoji,
            remove
        }),
        prop::collection::vec(user(), 0..3).prop_map(|users| ClientFrame::Watch { users }),
        "\\PC{0,12}".prop_map(|token| ClientFrame::Reauth { token }),
        Just(ClientFrame::Ping),
    ];
    (of("[ -~]{1,64}"), frame).prop_map(|(id, mut frame)| {
        let id = match &mut frame {
            ClientFrame::Send(send) => {
                send.id = id.unwrap_or_default();
                Some(send.id.clone())
            }
            _ => id,
        };
        Request { id, frame }
    })
}

fn written<T: Serialize>(codec: Codec, value: &T) -> Vec<u8> {
    let mut out = BytesMut::new();
    codec.write(value, &mut out);
    out.to_vec()
}

/// The same object in both codecs.
fn both(json: serde_json::Value) -> [(Codec, Vec<u8>); 2] {
    CODECS.map(|codec| (codec, written(codec, &json)))
}

fn refused(json: serde_json::Value) -> Rejected {
    let [of_json, of_msgpack] = both(json).map(|(codec, payload)| codec.read(&payload).unwrap_err());
    assert_eq!(of_json.id, of_msgpack.id);
    assert_eq!(of_json.problem.code, of_msgpack.problem.code);
    of_json
}

fn field(rejected: &Rejected) -> &str {
    assert_eq!(rejected.problem.code, ErrorCode::InvalidField, "{rejected:?}");
    &rejected.problem.errors[0].field
}

#[test]
fn a_malformed_id_among_the_mentions_is_an_invalid_field() {
    let to = serde_json::json!({ "user": Uuid::nil().to_string() });
    let rejected = refused(serde_json::json!({ "t": "send", "id": "a", "to": to, "body": "x", "mentions": ["me"] }));
    assert_eq!((field(&rejected), rejected.id.as_deref()), ("mentions", Some("a")));
}

#[test]
fn a_field_of_another_type_is_named_and_the_error_finds_its_request() {
    let rejected =
        refused(serde_json::json!({ "t": "ack", "id": "a", "conversation": Uuid::nil().to_string(), "seq": "1" }));
    assert_eq!((field(&rejected), rejected.id.as_deref()), ("seq", Some("a")));
    let rejected = refused(serde_json::json!({ "t": "ack", "id": "a", "seq": 1 }));
    assert_eq!(field(&rejected), "conversation");
    assert_eq!(field(&refused(serde_json::json!({ "t": "ping", "id": 7 }))), "id");
    assert_eq!(
        field(&refused(serde_json::json!({ "t": "ping", "id": "x".repeat(65) }))),
        "id"
    );
    assert_eq!(field(&refused(serde_json::json!({ "id": "a" }))), "t");
}

#[test]
fn an_unknown_type_is_unsupported_whatever_its_fields_are() {
    for frame in [
        serde_json::json!({ "t": "dance", "id": "a" }),
        serde_json::json!({ "t": "dance", "id": "a", "seq": "first", "to": "everybody" }),
    ] {
        let rejected = refused(frame);
        assert_eq!(rejected.problem.code, ErrorCode::Unsupported);
        assert_eq!(rejected.id.as_deref(), Some("a"));
    }
}

#[test]
fn what_is_no_object_is_a_bad_request() {
    for value in [
        serde_json::json!(["send"]),
        serde_json::json!(1),
        serde_json::json!(null),
    ] {
        for (codec, payload) in both(value) {
            let rejected = codec.read(&payload).unwrap_err();
            assert_eq!(rejected.problem.code, ErrorCode::BadRequest, "{codec:?} {rejected:?}");
        }
    }
    assert_eq!(Codec::Json.read(b"{").unwrap_err().problem.code, ErrorCode::BadRequest);
    assert_eq!(
        Codec::MsgPack.read(b"\x81").unwrap_err().problem.code,
        ErrorCode::BadRequest
    );
}

#[test]
fn unknown_fields_are_ignored() {
    for (codec, payload) in both(serde_json::json!({ "t": "ping", "later": { "than": [1] } })) {
        assert_eq!(codec.read(&payload).unwrap().frame, ClientFrame::Ping);
    }
}

#[test]
fn deep_nesting_is_refused_and_costs_no_stack() {
    let json = format!(
        "{{\"t\":\"ping\",\"data\":{}{}}}",
        "[".repeat(30_000),
        "]".repeat(30_000)
    );
    assert!(Codec::Json.read(json.as_bytes()).is_err());
    let mut msgpack = b"\x82\xa1t\xa4ping\xa4data".to_vec();
    msgpack.extend([0x91; 60_000]);
    msgpack.push(0xc0);
    assert!(Codec::MsgPack.read(&msgpack).is_err());
}

#[test]
fn what_msgpack_can_say_and_json_cannot_is_refused() {
    let mut binary = b"\x82\xa1t\xa4ping\xa4data".to_vec();
    binary.extend(b"\xc4\x01\x00");
    assert!(Codec::MsgPack.read(&binary).is_err());
    let mut number_as_key = b"\x82\xa1t\xa4ping\xa4data".to_vec();
    number_as_key.extend(b"\x81\x01\x01");
    assert!(Codec::MsgPack.read(&number_as_key).is_err());
}

proptest! {
    #[test]
    fn every_request_comes_back_as_it_was_written(request in request()) {
        for codec in CODECS {
            prop_assert_eq!(codec.read(&written(codec, &request)), Ok(request.clone()));
        }
    }

    #[test]
    fn no_payload_makes_the_reader_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        for codec in CODECS {
            codec.read(&payload).ok();
            codec.read_server(&payload).ok();
        }
    }

    #[test]
    fn no_damage_to_a_frame_makes_the_reader_panic(
        request in request(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        for codec in CODECS {
            let mut payload = written(codec, &request);
            for (index, byte) in &damage {
                let index = index.index(payload.len());
                payload[index] = *byte;
            }
            codec.read(&payload).ok();
            codec.read(&payload[..cut.index(payload.len())]).ok();
        }
    }
}

#[cfg(feature = "runtime")]
proptest! {
    #[test]
    fn every_server_frame_comes_back_as_it_was_written(frame in crate::samples::server_frame()) {
        for codec in CODECS {
            prop_assert_eq!(codec.read_server(&written(codec, &frame)), Ok(frame.clone()));
        }
    }
}
