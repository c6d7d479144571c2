//! The two subprotocols: the same objects as JSON text frames or as MessagePack binary frames.

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::client::{self, Incoming, Rejected, Request};
use super::error::{ErrorCode, Problem};
use super::server::ServerFrame;

/// How deep MessagePack that is read may be nested: data, and what it travels in between nodes. Deeper bytes would cost a
/// worker's stack.
const MSGPACK_DEPTH: usize = 160;

/// How a connection's frames are written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Codec {
    #[default]
    Json,
    MsgPack,
}

impl Codec {
    /// The name offered in `Sec-WebSocket-Protocol`.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "rookery.v1.json",
            Self::MsgPack => "rookery.v1.msgpack",
        }
    }

    /// The codec of that subprotocol.
    pub fn named(subprotocol: &str) -> Option<Self> {
        [Self::Json, Self::MsgPack]
            .into_iter()
            .find(|codec| codec.subprotocol() == subprotocol)
    }

    /// Reads one frame of a client.
    pub fn read(self, payload: &[u8]) -> Result<Request, Rejected> {
        if !self.is_object(payload) {
            return Err(Rejected {
                id: None,
                problem: Problem::new(ErrorCode::BadRequest, "a frame is one object"),
            });
        }
        let incoming = match self {
            Self::Json => serde_json::from_slice::<Incoming>(payload).map_err(|error| error.to_string()),
            Self::MsgPack => read_msgpack::<Incoming>(payload).map_err(|error| error.to_string()),
        };
        match incoming {
            Ok(incoming) => incoming.0,
            Err(why) => Err(self.rejected(payload, why)),
        }
    }

    /// Appends one object, without any WebSocket header.
    pub fn write<T: Serialize>(self, value: &T, out: &mut BytesMut) {
        let written = match self {
            Self::Json => serde_json::to_writer(out.writer(), value).map_err(|error| error.to_string()),
            Self::MsgPack => value
                .serialize(&mut rmp_serde::Serializer::new(out.writer()).with_struct_map())
                .map_err(|error| error.to_string()),
        };
        debug_assert!(written.is_ok(), "protocol types always serialize: {written:?}");
    }

    /// Reads a frame of the server, as a client does.
    pub fn read_server(self, payload: &[u8]) -> Result<ServerFrame, String> {
        match self {
            Self::Json => serde_json::from_slice(payload).map_err(|error| error.to_string()),
            Self::MsgPack => read_msgpack(payload).map_err(|error| error.to_string()),
        }
    }

    /// Whether a payload begins as an object does: `serde` would also take a list of the fields in their order.
    fn is_object(self, payload: &[u8]) -> bool {
        match self {
            Self::Json => payload.trim_ascii_start().starts_with(b"{"),
            // A map of up to 15 fields, or one whose size follows in 16 or 32 bits.
            Self::MsgPack => matches!(payload.first(), Some(0x80..=0x8f | 0xde | 0xdf)),
        }
    }

    /// What is wrong with a frame that could not be read: its id so that the error finds its request, and the field at fault.
    fn rejected(self, payload: &[u8], why: String) -> Rejected {
        let object: Option<Map<String, Value>> = match self {
            Self::Json => serde_json::from_slice(payload).ok(),
            Self::MsgPack => read_msgpack(payload).ok(),
        };
        match object {
            Some(object) => client::rejected(object, why),
            None => Rejected {
                id: self.salvage_id(payload),
                problem: Problem::new(ErrorCode::BadRequest, why),
            },
        }
    }

    /// The `id` of a frame that no value can hold: MessagePack knows bytes and keys that are no text.
    fn salvage_id(self, payload: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct OnlyId {
            id: String,
        }
        let found: Option<OnlyId> = match self {
            Self::Json => serde_json::from_slice(payload).ok(),
            Self::MsgPack => read_msgpack(payload).ok(),
        };
        found
            .map(|found| found.id)
            .filter(|id| id.len() <= client::REQUEST_ID_BYTES)
    }
}

/// Reads MessagePack that somebody else wrote.
pub(crate) fn read_msgpack<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(payload);
    reader.set_max_depth(MSGPACK_DEPTH);
    T::deserialize(&mut reader)
}

#[cfg(test)]
mod tests;
