//! RFC 6455 framing, as pure functions over bytes: no socket, no runtime, no clock.
//!
//! The server writes its shared frames with [`server_frame`] and reads clients with a [`Decoder`] of [`Role::Server`]; the
//! load harness does the opposite. Extensions are never negotiated and messages never fragmented, so one frame is one
//! message, and a decoder holds no byte while no frame is incomplete.

mod decoder;

pub use decoder::{Decoder, Frame, Role, Violation};

use bytes::{BufMut, BytesMut};

/// What a frame is (RFC 6455, section 5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of four bits; `None` for a reserved one.
    pub fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Close, ping and pong.
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// Longest payload of a control frame.
pub const CONTROL_BYTES: usize = 125;
/// Longest head of a frame to a client: two bytes and a length of eight.
const LONGEST_HEAD: usize = 10;
/// Last bit of the first byte: this frame ends its message.
const FIN: u8 = 0x80;
/// First bit of the second byte: the payload is masked.
const MASKED: u8 = 0x80;

/// Appends one unfragmented, unmasked (server to client) frame whose payload `write` appends.
pub fn server_frame(opcode: Opcode, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_bytes(0, LONGEST_HEAD);
    write(out);
    close_gap(opcode, None, start, LONGEST_HEAD, out);
}

/// Appends one unfragmented, masked (client to server) frame whose payload `write` appends.
pub fn client_frame(opcode: Opcode, key: [u8; 4], out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    let room = LONGEST_HEAD + key.len();
    out.put_bytes(0, room);
    write(out);
    mask(&mut out[start + room..], key);
    close_gap(opcode, Some(key), start, room, out);
}

/// The payload of a close frame. The reason is cut to what a control frame holds.
pub fn close_payload(code: u16, reason: &str, out: &mut BytesMut) {
    let mut end = reason.len().min(CONTROL_BYTES - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    out.put_u16(code);
    out.put_slice(&reason.as_bytes()[..end]);
}

/// The code a close frame carries; `None` when it carries none.
pub fn close_code(payload: &[u8]) -> Option<u16> {
    payload.first_chunk().map(|code| u16::from_be_bytes(*code))
}

/// Masks, or unmasks, a payload in place (RFC 6455, section 5.3).
pub fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// Writes the head of a frame before its payload, which begins `room` bytes after `start`, and moves the payload up to it.
fn close_gap(opcode: Opcode, key: Option<[u8; 4]>, start: usize, room: usize, out: &mut BytesMut) {
    let payload = out.len() - start - room;
    let mut head = [0u8; LONGEST_HEAD + 4];
    head[0] = FIN | opcode as u8;
    let mut used = match payload {
        0..=125 => {
            head[1] = payload as u8;
            2
        }
        126..=0xffff => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        }
    };
    if let Some(key) = key {
        head[1] |= MASKED;
        head[used..used + 4].copy_from_slice(&key);
        used += 4;
    }
    out[start..start + used].copy_from_slice(&head[..used]);
    out.copy_within(start + room.., start + used);
    out.truncate(start + used + payload);
}
