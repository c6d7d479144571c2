//! What crosses a link: how a message becomes bytes, and how bytes become frames on an ordered stream.
//!
//! A frame is `length: u32 | version: u8 | payload`, big-endian, where `length` counts the version and the payload. The
//! version is of the frame, so that a node can tell a peer from another time before it reads what it cannot understand;
//! how messages grow fields without a new version is the business of their own encoding. The lane is not in the frame: it
//! is the stream.
//!
//! **One number for both.** The version of frames stands for the messages in them as well. Messages are encoded once for all
//! the nodes that get them, so they cannot be of the version of one link; two numbers would be agreed on in the same
//! handshake, by the same releases, and would tell an operator nothing that one does not. As a rule neither changes: a
//! release sends what the one before reads. Where that cannot be, [`VERSION`] rises, and [`OLDEST`] a release later.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// A message that nodes send each other.
pub trait Wire: Sized + Send + 'static {
    fn encode(&self) -> Bytes;

    /// The message that these bytes are. Must refuse every malformed input, and allocate no more than its size suggests.
    fn decode(bytes: &Bytes) -> Result<Self, Malformed>;
}

/// The bytes are no message, or one of a later release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message from a peer: {0}")]
pub struct Malformed(pub &'static str);

/// The newest version of frames that this release reads and writes. A link uses the newest that both of its nodes know.
pub const VERSION: u8 = 1;

/// The oldest version of frames that this release still reads and writes: the newest one of the release before, so that a
/// cluster can be upgraded node by node.
pub const OLDEST: u8 = 1;

/// The versions of frames that a node reads and writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Versions {
    pub oldest: u32,
    pub newest: u32,
}

impl Versions {
    /// Those of this release.
    pub const OWN: Self = Self {
        oldest: OLDEST as u32,
        newest: VERSION as u32,
    };

    /// The newest that both know.
    pub fn common(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

/// Of a node from before nodes said which they know.
impl Default for Versions {
    fn default() -> Self {
        Self { oldest: 1, newest: 1 }
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.oldest, self.newest)
    }
}

/// The largest payload of a frame: a fan-out to a full roster is some 2 MiB (100,000 ids of 16 bytes and a message).
pub const MAX_PAYLOAD: usize = 8 << 20;

/// Length and version.
pub const HEADER: usize = 5;

/// A stream that cannot be read on. Nothing behind the error can be trusted, so the link has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {length} bytes exceeds the limit of {MAX_PAYLOAD}")]
    TooLarge { length: usize },
    #[error("a frame has no version")]
    Empty,
    #[error("a frame has version {theirs}, and this node speaks {OLDEST} to {VERSION}")]
    Version { theirs: u8 },
}

/// Appends a frame to what is about to be written.
pub fn write_frame(out: &mut BytesMut, payload: &[u8]) -> Result<(), FrameError> {
    let length = payload.len();
    if length > MAX_PAYLOAD {
        return Err(FrameError::TooLarge { length });
    }
    out.reserve(HEADER + length);
    out.put_slice(&header(VERSION, length));
    out.put_slice(payload);
    Ok(())
}

/// What stands before a payload of this length, which must be at most [`MAX_PAYLOAD`].
pub fn header(version: u8, length: usize) -> [u8; HEADER] {
    let [a, b, c, d] = (length as u32 + 1).to_be_bytes();
    [a, b, c, d, version]
}

/// Takes the next payload from what was read; `None` until all of it is there. A length or version that is refused is
/// refused from the header alone, before anything is kept or allocated for it.
pub fn read_frame(read: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let Some(length) = read.first_chunk().map(|length| u32::from_be_bytes(*length) as usize) else {
        return Ok(None);
    };
    match length.checked_sub(1) {
        None => return Err(FrameError::Empty),
        Some(payload) if payload > MAX_PAYLOAD => return Err(FrameError::TooLarge { length: payload }),
        Some(_) => {}
    }
    match read.get(HEADER - 1) {
        None => return Ok(None),
        Some(OLDEST..=VERSION) => {}
        Some(&theirs) => return Err(FrameError::Version { theirs }),
    }
    let frame = HEADER - 1 + length;
    if read.len() < frame {
        return Ok(None);
    }
    let mut payload = read.split_to(frame).freeze();
    payload.advance(HEADER);
    Ok(Some(payload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(read: &mut BytesMut) -> Result<Vec<Bytes>, FrameError> {
        std::iter::from_fn(|| read_frame(read).transpose()).collect()
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut_of_the_stream(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20), step in 1..64_usize,
        ) {
            let mut stream = BytesMut::new();
            for payload in &payloads {
                write_frame(&mut stream, payload).unwrap();
            }
            let (mut read, mut taken) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(step) {
                read.extend_from_slice(piece);
                taken.extend(read_all(&mut read).unwrap());
            }
            prop_assert_eq!(taken, payloads);
            prop_assert!(read.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>) {
            let mut read = BytesMut::from(&bytes[..]);
            let before = read.len();
            let taken: usize = read_all(&mut read).map(|frames| frames.iter().map(|frame| frame.len() + HEADER).sum()).unwrap_or(0);
            prop_assert!(taken <= before);
        }
    }

    #[test]
    fn malformed_headers_are_refused_at_once() {
        let cases: [(&[u8], FrameError); 4] = [
            (&[0, 0, 0, 0], FrameError::Empty),
            (&[0xff, 0xff, 0xff, 0xff], FrameError::TooLarge { length: 0xffff_fffe }),
            (
                &[0, 0x80, 0, 2],
                FrameError::TooLarge {
                    length: MAX_PAYLOAD + 1,
                },
            ),
            (&[0, 0, 0, 9, 2], FrameError::Version { theirs: 2 }),
        ];
        for (bytes, error) in cases {
            assert_eq!(read_frame(&mut BytesMut::from(bytes)), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn a_frame_that_is_not_all_there_is_waited_for() {
        for bytes in [&[][..], &[0, 0, 0], &[0, 0, 0, 3], &[0, 0, 0, 3, VERSION, b'x']] {
            let mut read = BytesMut::from(bytes);
            assert_eq!(read_frame(&mut read), Ok(None), "{bytes:?}");
            assert_eq!(read, bytes, "nothing of it is taken");
        }
    }

    #[test]
    fn the_largest_payload_passes_and_a_larger_one_does_not() {
        let mut out = BytesMut::new();
        let payload = vec![7; MAX_PAYLOAD + 1];
        let length = payload.len();
        assert_eq!(write_frame(&mut out, &payload), Err(FrameError::TooLarge { length }));
        assert!(out.is_empty());
        write_frame(&mut out, &payload[1..]).unwrap();
        assert_eq!(read_frame(&mut out).unwrap().unwrap().len(), MAX_PAYLOAD);
    }

    #[test]
    fn the_layout_of_a_frame_never_changes() {
        let mut out = BytesMut::new();
        write_frame(&mut out, b"hi").unwrap();
        assert_eq!(out, &[0, 0, 0, 3, 1, b'h', b'i'][..]);
    }
}
