//! Messages of a later release, which cannot be read whole: what can be made of them nevertheless. Pure.
//!
//! A release sends nothing that the one before it cannot read (see the [parent](super)), so this is for nodes that are
//! further apart than they should be. They stay linked, and nobody waits in vain: an ask is refused in such a way that it is
//! asked again, an answer that cannot be read is as good as none in time, what was delivered is looked for at the
//! conversation's owner, and of a bag all parcels that can be read are taken.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Origin;
use super::parcel::{Bag, Parcel, Plug};
use crate::id::ConversationId;
use crate::protocol::codec::read_msgpack;

/// What is left of a message.
#[derive(Debug, PartialEq)]
pub enum Rest {
    /// Somebody asks.
    Ask(Origin),
    /// It is the answer to this.
    Answer(Origin),
    /// Something of a conversation.
    Delivery(ConversationId),
    /// What can be read of a bag, and the requests that cannot, with their ids.
    Bag(Bag, Vec<(Plug, Option<String>)>),
    /// Nobody waits for it.
    Other,
}

/// What one parcel is.
enum Found {
    Read(Parcel),
    Request(Plug, Option<String>),
    Unread,
}

/// What is left of these bytes; nothing when they are no message of any release.
pub fn read(bytes: &[u8]) -> Option<Rest> {
    let (kind, said) = variant(read_msgpack(bytes).ok()?)?;
    let rest = match kind.as_str() {
        "Forward" => part(&said, "/ask/origin").map(Rest::Ask),
        "Answer" => part(&said, "/to").map(Rest::Answer),
        "Deliver" => part(&said, "/0").map(Rest::Delivery),
        "Bag" => bag(&said),
        _ => None,
    };
    Some(rest.unwrap_or(Rest::Other))
}

/// A variant by its name, with what it holds.
fn variant(value: Value) -> Option<(String, Value)> {
    match value {
        Value::Object(fields) if fields.len() == 1 => fields.into_iter().next(),
        Value::String(name) => Some((name, Value::Null)),
        _ => None,
    }
}

/// What is at a place, if it can be read.
fn part<T: DeserializeOwned>(value: &Value, place: &str) -> Option<T> {
    T::deserialize(value.pointer(place)?).ok()
}

fn bag(said: &Value) -> Option<Rest> {
    let mut bag = Bag {
        stream: part(said, "/stream")?,
        number: part(said, "/number")?,
        parcels: Vec::new(),
    };
    let mut unread = Vec::new();
    for value in said.get("parcels")?.as_array()? {
        match found(value) {
            Found::Read(parcel) => bag.parcels.push(parcel),
            Found::Request(plug, id) => unread.push((plug, id)),
            Found::Unread => {}
        }
    }
    Some(Rest::Bag(bag, unread))
}

fn found(value: &Value) -> Found {
    let read = |value: &Value| serde::Deserialize::deserialize(value).ok().map(Found::Read);
    let request = |value: &Value| {
        let said = value.get("Frame")?;
        let id = said.pointer("/1/id").and_then(Value::as_str);
        Some(Found::Request(part(said, "/0")?, id.map(str::to_owned)))
    };
    read(value)
        .or_else(|| read(&without_unread_frames(value)?))
        .or_else(|| request(value))
        .unwrap_or(Found::Unread)
}

/// A push with those of its frames that can be read: the others would say nothing to a client of this release either.
fn without_unread_frames(value: &Value) -> Option<Value> {
    use crate::protocol::ServerFrame;
    let mut pushed = value.get("Push")?.clone();
    let frames = pushed.get_mut("frames")?.as_array_mut()?;
    frames.retain(|frame| <ServerFrame as serde::Deserialize>::deserialize(frame).is_ok());
    Some(Value::Object(Map::from_iter([("Push".to_owned(), pushed)])))
}
