//! What is made of messages that hold what this release does not know.

use rookery_cluster::wire::Wire as _;
use serde_json::{Value, json};

use super::messages::{messages, parcels, plug};
use super::values::conversation;
use crate::interchange::later::{Rest, read};
use crate::interchange::parcel::{Bag, Parcel};
use crate::interchange::{Origin, Peer};

fn value(peer: &Peer) -> Value {
    rmp_serde::from_slice(&peer.encode()).unwrap()
}

fn rest(value: &Value) -> Option<Rest> {
    let bytes = rmp_serde::to_vec_named(value).unwrap();
    assert!(Peer::decode(&bytes.clone().into()).is_err(), "{value}");
    read(&bytes)
}

/// A message in which what is at a place is of no variant that is known.
fn strange(mut value: Value, place: &str) -> Value {
    *value.pointer_mut(place).unwrap() = json!({"OfALaterRelease": {"what": ["ever", 1.5]}});
    value
}

#[test]
fn who_asks_is_known_whatever_is_asked() {
    let mut asked = 0;
    for (_, peer) in messages() {
        let value = value(&peer);
        match peer {
            Peer::Forward(forwarded) => {
                let rest = rest(&strange(value, "/Forward/ask/question"));
                assert_eq!(rest, Some(Rest::Ask(forwarded.ask.origin)));
                asked += 1;
            }
            Peer::Answer(answer) => {
                let rest = rest(&strange(value, "/Answer/reply"));
                assert_eq!(rest, Some(Rest::Answer(answer.to)));
                asked += 1;
            }
            _ => {}
        }
    }
    assert!(asked > 60, "{asked}");
}

#[test]
fn who_asks_in_a_way_that_is_not_known_is_nobody() {
    let origin = Origin::Nobody;
    let (_, peer) = messages()
        .into_iter()
        .find(|(_, peer)| matches!(peer, Peer::Forward(forwarded) if forwarded.ask.origin == origin))
        .unwrap();
    assert_eq!(rest(&strange(value(&peer), "/Forward/ask/origin")), Some(Rest::Other));
}

#[test]
fn what_is_delivered_is_known_by_its_conversation() {
    for (name, peer) in messages() {
        if let Peer::Deliver(..) = peer {
            let rest = rest(&strange(value(&peer), "/Deliver/1"));
            assert_eq!(rest, Some(Rest::Delivery(conversation())), "{name}");
        }
    }
}

/// A bag with one parcel that is not known between two that are.
fn bag_with(strange: &Value) -> (Vec<Parcel>, Value) {
    let known: Vec<Parcel> = parcels().into_iter().map(|(_, parcel)| parcel).take(2).collect();
    let bag = Peer::Bag(Bag {
        stream: 3,
        number: 4,
        parcels: known.clone(),
    });
    let mut bag = value(&bag);
    let parcels = bag.pointer_mut("/Bag/parcels").unwrap().as_array_mut().unwrap();
    parcels.insert(1, strange.clone());
    (known, bag)
}

#[test]
fn a_parcel_that_is_not_known_is_left_out_of_its_bag() {
    let (parcels, bag) = bag_with(&json!({"OfALaterRelease": [1, 2]}));
    let bag_read = |parcels| Bag {
        stream: 3,
        number: 4,
        parcels,
    };
    assert_eq!(rest(&bag), Some(Rest::Bag(bag_read(parcels.clone()), vec![])));
    let (_, bag) = bag_with(&json!({"Frame": [plug(), {"t": "later", "id": "r7", "what": 1}]}));
    let refused = vec![(plug(), Some("r7".to_owned()))];
    assert_eq!(rest(&bag), Some(Rest::Bag(bag_read(parcels), refused)));
}

/// It is counted as pushed by the session, so it must be credited by the socket.
#[test]
fn a_push_keeps_the_frames_that_are_known() {
    let (name, push) = parcels()
        .into_iter()
        .find(|(_, parcel)| matches!(parcel, Parcel::Push { .. }))
        .unwrap();
    let mut strange: Value = serde_json::to_value(&push).unwrap();
    let frames = strange.pointer_mut("/Push/frames").unwrap().as_array_mut().unwrap();
    frames.push(json!({"t": "later", "seq": 7}));
    let (parcels, bag) = bag_with(&strange);
    let [first, last] = <[Parcel; 2]>::try_from(parcels).unwrap();
    match rest(&bag) {
        Some(Rest::Bag(bag, unread)) => {
            assert_eq!(bag.parcels, [first, push, last], "{name}");
            assert_eq!(unread, []);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_of_a_kind_that_is_not_known_is_told_from_nonsense() {
    assert_eq!(rest(&json!({"OfALaterRelease": 7})), Some(Rest::Other));
    assert_eq!(rest(&json!("OfALaterRelease")), Some(Rest::Other));
    for nonsense in [&b""[..], b"\xc1", b"\x01", b"\x82\xa1a\x01\xa1b\x01", b"\x90"] {
        assert_eq!(read(nonsense), None, "{nonsense:?}");
    }
}
