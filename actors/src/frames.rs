//! Server frames that many connections share: encoded once a codec, handed out as the same bytes.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::protocol::websocket::{Opcode, server_frame};
use crate::protocol::{Codec, ServerFrame};

/// Consecutive frames of a shared batch, WebSocket headers included. The whole batch is encoded on the first need of each
/// codec, into one buffer of which every part is a slice.
#[derive(Clone)]
pub struct Frames {
    shared: Arc<Shared>,
    from: u32,
    to: u32,
}

struct Shared {
    frames: Vec<ServerFrame>,
    json: OnceLock<Encoded>,
    msgpack: OnceLock<Encoded>,
}

struct Encoded {
    bytes: Bytes,
    /// Where each frame ends.
    ends: Vec<u32>,
}

/// What a frame is likely to take, so that a batch's buffer seldom grows.
const LIKELY_BYTES: usize = 320;

impl Frames {
    pub fn new(frames: Vec<ServerFrame>) -> Self {
        let to = frames.len() as u32;
        Self {
            shared: Arc::new(Shared {
                frames,
                json: OnceLock::new(),
                msgpack: OnceLock::new(),
            }),
            from: 0,
            to,
        }
    }

    pub fn one(frame: ServerFrame) -> Self {
        Self::new(vec![frame])
    }

    /// The bytes to write to a socket of that codec.
    pub fn bytes(&self, codec: Codec) -> Bytes {
        let cell = match codec {
            Codec::Json => &self.shared.json,
            Codec::MsgPack => &self.shared.msgpack,
        };
        let encoded = cell.get_or_init(|| encode(codec, &self.shared.frames));
        encoded.bytes.slice(encoded.range(self.from, self.to))
    }

    /// One of these frames alone.
    pub fn part(&self, index: usize) -> Self {
        let from = self.from + index as u32;
        Self {
            shared: Arc::clone(&self.shared),
            from,
            to: from + 1,
        }
    }

    /// Whether these are the very same frames, in the same place.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared) && (self.from, self.to) == (other.from, other.to)
    }

    /// How many frames these are.
    pub fn len(&self) -> usize {
        (self.to - self.from) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frames themselves.
    pub fn frames(&self) -> &[ServerFrame] {
        &self.shared.frames[self.from as usize..self.to as usize]
    }
}

impl PartialEq for Frames {
    fn eq(&self, other: &Self) -> bool {
        self.frames() == other.frames()
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.frames()).finish()
    }
}

/// Between nodes the frames themselves travel; the receiver encodes what its own clients need.
impl Serialize for Frames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.frames().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Frames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::new)
    }
}

impl Encoded {
    fn range(&self, from: u32, to: u32) -> Range<usize> {
        let end_of = |count: u32| count.checked_sub(1).map_or(0, |last| self.ends[last as usize] as usize);
        end_of(from)..end_of(to)
    }
}

fn encode(codec: Codec, frames: &[ServerFrame]) -> Encoded {
    let opcode = match codec {
        Codec::Json => Opcode::Text,
        Codec::MsgPack => Opcode::Binary,
    };
    let mut out = BytesMut::with_capacity(LIKELY_BYTES * frames.len());
    let mut ends = Vec::with_capacity(frames.len());
    for frame in frames {
        server_frame(opcode, &mut out, |out| codec.write(frame, out));
        ends.push(out.len() as u32);
    }
    Encoded {
        bytes: out.freeze(),
        ends,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    proptest! {
        #[test]
        fn the_parts_of_a_batch_are_what_each_frame_alone_is(
            frames in prop::collection::vec(samples::server_frame(), 0..8)
        ) {
            let batch = Frames::new(frames.clone());
            for codec in [Codec::Json, Codec::MsgPack] {
                let alone: Vec<_> = frames.iter().map(|frame| Frames::one(frame.clone()).bytes(codec)).collect();
                prop_assert_eq!(batch.bytes(codec), alone.concat());
                for (index, bytes) in alone.iter().enumerate() {
                    let part = batch.part(index);
                    prop_assert_eq!(&part.bytes(codec), bytes);
                    prop_assert_eq!(part.frames(), &frames[index..=index]);
                    prop_assert_eq!(&part.part(0).bytes(codec), bytes);
                }
            }
        }
    }
}
