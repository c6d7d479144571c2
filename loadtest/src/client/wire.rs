//! RFC 6455 from the client's side: frames parsed where they lie, frames masked as they are written, the opening handshake.

use rookery_actors::protocol::websocket::{self, Opcode};

/// A whole frame found at the start of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found<'a> {
    pub opcode: Opcode,
    pub payload: &'a [u8],
    /// Bytes it takes, head included.
    pub length: usize,
}

/// The server broke the framing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Broken {
    #[error("a masked frame from the server")]
    Masked,
    #[error("a fragmented frame or a reserved bit from the server")]
    Unsupported,
}

/// Finds the frame at the start of `bytes`; `None` while it isn't whole.
#[inline]
pub fn frame(bytes: &[u8]) -> Result<Option<Found<'_>>, Broken> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err(Broken::Masked);
    }
    let opcode = match first {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8A => Opcode::Pong,
        _ => return Err(Broken::Unsupported),
    };
    let (head, size): (usize, usize) = match second {
        126 => match bytes.get(2..4) {
            Some(size) => (4, usize::from(size[0]) << 8 | usize::from(size[1])),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|size| size.try_into().ok()) {
            Some(size) => (10, u64::from_be_bytes(size) as usize),
            None => return Ok(None),
        },
        size => (2, usize::from(size)),
    };
    let length = head.saturating_add(size);
    Ok(bytes.get(head..length).map(|payload| Found {
        opcode,
        payload,
        length,
    }))
}

/// Appends one masked frame whose payload is the given parts in a row.
pub fn write(opcode: Opcode, mask: u32, parts: &[&[u8]], out: &mut Vec<u8>) {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    out.push(0x80 | opcode as u8);
    match size {
        0..=125 => out.push(0x80 | size as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    let key = mask.to_be_bytes();
    out.extend_from_slice(&key);
    let start = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    websocket::mask(&mut out[start..], key);
}

/// The key every virtual client sends (RFC 6455's own example), so that the answer is known without hashing.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// The shortest answer that a virtual client takes for an upgrade.
pub const UPGRADED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The request that opens a socket.
pub fn upgrade(host: &str, device: Option<&str>, token: &str, out: &mut Vec<u8>) {
    let (query, device) = device.map_or(("", ""), |device| ("?device=", device));
    let request = format!(
        "GET /ws{query}{device} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: rookery.v1.json\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    out.extend_from_slice(request.as_bytes());
}

/// What the server said to the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Upgraded {
    /// More bytes are needed.
    NotYet,
    /// A WebSocket from this byte on.
    Yes(usize),
    /// Refused, with the status and the seconds of `Retry-After`.
    No { status: u16, retry_after: Option<u64> },
}

/// Reads the answer to [`upgrade`].
pub fn upgraded(bytes: &[u8]) -> Upgraded {
    let Some(head) = crate::http::head(bytes) else {
        return Upgraded::NotYet;
    };
    let accepted = head.field("sec-websocket-accept") == Some(ACCEPT);
    match head.status {
        101 if accepted => Upgraded::Yes(head.length),
        status => Upgraded::No {
            status,
            retry_after: head
                .field("retry-after")
                .and_then(|seconds| seconds.trim().parse().ok()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_only_when_whole() {
        for size in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let mut bytes = vec![0x81];
            match size {
                0..=125 => bytes.push(size as u8),
                126..=65_535 => {
                    bytes.push(126);
                    bytes.extend((size as u16).to_be_bytes());
                }
                _ => {
                    bytes.push(127);
                    bytes.extend((size as u64).to_be_bytes());
                }
            }
            bytes.extend(std::iter::repeat_n(b'x', size));
            for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                assert_eq!(frame(&bytes[..cut]), Ok(None), "{size} cut at {cut}");
            }
            let total = bytes.len();
            bytes.extend([0x8A, 0]);
            let found = frame(&bytes).unwrap().unwrap();
            assert_eq!(
                (found.opcode, found.payload.len(), found.length),
                (Opcode::Text, size, total)
            );
        }
    }

    #[test]
    fn a_server_that_masks_or_fragments_is_caught() {
        assert_eq!(frame(&[0x81, 0x81, 0, 0, 0, 0, 1]), Err(Broken::Masked));
        assert_eq!(frame(&[0x01, 1, 1]), Err(Broken::Unsupported));
    }

    #[test]
    fn a_written_frame_unmasks_to_its_parts() {
        let mut out = Vec::new();
        write(Opcode::Text, 0x0102_0304, &[b"hello ", b"world"], &mut out);
        assert_eq!(out[..2], [0x81, 0x80 | 11]);
        let text: Vec<u8> = out[6..]
            .iter()
            .enumerate()
            .map(|(n, byte)| byte ^ out[2 + (n & 3)])
            .collect();
        assert_eq!(text, b"hello world");
    }

    #[test]
    fn the_handshake_answer_is_read_with_what_follows_it() {
        let yes = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n");
        assert_eq!(upgraded(&yes.as_bytes()[..40]), Upgraded::NotYet);
        assert_eq!(
            upgraded(format!("{yes}\u{1}\u{2}").as_bytes()),
            Upgraded::Yes(yes.len())
        );
        let no = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\n\r\n";
        let refused = Upgraded::No {
            status: 429,
            retry_after: Some(3),
        };
        assert_eq!(upgraded(no), refused);
        let forged = b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: no\r\n\r\n";
        assert!(matches!(upgraded(forged), Upgraded::No { status: 101, .. }));
    }
}
