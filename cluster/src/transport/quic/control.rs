//! What nodes say on the control lane of a link: who they are, and that they are alive.
//!
//! Protobuf inside frames, so that a later release may add fields and kinds: a field that is not known is skipped, and so is
//! what is of a kind that is not known. The first frame is the handshake, which every release must be able to read.

use bytes::{Bytes, BytesMut};
use prost::Message;
use quinn::{ReadError, RecvStream};

use super::defaults::CONTROL_FRAME;
use crate::wire::{FrameError, Malformed, read_frame};

/// One frame of a control lane.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Control {
    #[prost(oneof = "Say", tags = "1, 2, 3, 4")]
    pub(super) say: Option<Say>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Say {
    /// The dialler's first.
    #[prost(message, tag = "1")]
    Hello(Introduction),
    /// The answer to a hello: the link is up.
    #[prost(message, tag = "2")]
    Welcome(Introduction),
    #[prost(message, tag = "3")]
    Ping(Beat),
    /// The ping's beat again.
    #[prost(message, tag = "4")]
    Pong(Beat),
}

/// Who a node is and what it can.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Introduction {
    #[prost(string, tag = "1")]
    pub(super) node: String,
    /// Grows with every start of the node.
    #[prost(uint64, tag = "2")]
    pub(super) incarnation: u64,
    /// The versions of frames it reads and writes.
    #[prost(uint32, tag = "3")]
    pub(super) oldest: u32,
    #[prost(uint32, tag = "4")]
    pub(super) newest: u32,
    /// The largest payload it takes.
    #[prost(uint64, tag = "5")]
    pub(super) most_bytes: u64,
}

/// A sign of life.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Beat {
    /// Microseconds since the link came up, by the pinging node's clock.
    #[prost(uint64, tag = "1")]
    pub(super) sent: u64,
}

impl Say {
    pub(super) fn into_payload(self) -> Bytes {
        Control { say: Some(self) }.encode_to_vec().into()
    }

    /// `None` for what a later release says.
    pub(super) fn from_payload(payload: Bytes) -> Result<Option<Self>, Malformed> {
        let control = Control::decode(payload).map_err(|_| Malformed("not a frame of a control lane"))?;
        Ok(control.say)
    }
}

/// Reads a control lane.
pub(super) struct Ear {
    stream: RecvStream,
    read: BytesMut,
}

/// A control lane that cannot be read on.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Deaf {
    #[error("read the control lane: {0}")]
    Stream(#[from] ReadError),
    #[error("the peer ended its control lane")]
    Ended,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a frame of the control lane is too long")]
    TooLong,
}

impl Ear {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
        }
    }

    /// The next thing said that this release understands. Nothing is lost when this future is dropped.
    pub(super) async fn next(&mut self) -> Result<Say, Deaf> {
        loop {
            while let Some(payload) = read_frame(&mut self.read)? {
                if let Some(say) = Say::from_payload(payload)? {
                    return Ok(say);
                }
            }
            if self.read.len() > CONTROL_FRAME {
                return Err(Deaf::TooLong);
            }
            let chunk = self.stream.read_chunk(CONTROL_FRAME, true).await?.ok_or(Deaf::Ended)?;
            self.read.extend_from_slice(&chunk.bytes);
        }
    }
}
