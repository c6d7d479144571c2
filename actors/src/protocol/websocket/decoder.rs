//! Reading frames from a stream of chunks.

use std::ops::ControlFlow;

use super::{CONTROL_BYTES, FIN, MASKED, Opcode, mask};
use crate::protocol::CloseCode;

/// Which end of the connection reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Reads what clients wrote: every frame must be masked.
    Server,
    /// Reads what a server wrote: no frame may be masked.
    Client,
}

/// One whole frame, unmasked. Text is valid UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'b> {
    pub opcode: Opcode,
    pub payload: &'b [u8],
}

/// Why the peer's bytes are no frames of ours. The connection must be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    #[error("a reserved bit is set")]
    ReservedBits,
    #[error("a reserved opcode")]
    ReservedOpcode,
    #[error("masked by the wrong end, or not masked")]
    Mask,
    #[error("a control frame that is fragmented or longer than 125 bytes")]
    Control,
    #[error("a length that is not written in the shortest way")]
    Length,
    #[error("a close frame whose code is none")]
    CloseCode,
    #[error("a continuation of nothing")]
    Continuation,
    #[error("a fragmented message")]
    Fragmented,
    #[error("a frame beyond the limit")]
    TooBig,
    #[error("text that is not utf-8")]
    NotUtf8,
}

impl Violation {
    /// The code to close with.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Fragmented | Self::TooBig => CloseCode::TooBig,
            Self::NotUtf8 => CloseCode::InvalidPayload,
            _ => CloseCode::Protocol,
        }
    }
}

/// Cuts a stream of bytes into frames. Holds memory only while a frame is incomplete, and then at most one frame's.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    limit: u32,
    /// The beginning of an incomplete frame. Boxed, as it is absent nearly always: a decoder is paid for by every idle
    /// connection.
    carry: Option<Box<Carry>>,
}

#[derive(Default, Debug)]
struct Carry(Vec<u8>);

/// The head of a frame that keeps the rules.
struct Head {
    opcode: Opcode,
    key: [u8; 4],
    /// Length of the head itself.
    bytes: usize,
    payload: usize,
}

impl Decoder {
    /// A decoder for one connection; a frame whose payload is longer than `limit` is refused before memory is taken for it.
    pub fn new(role: Role, limit: usize) -> Self {
        Self {
            role,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            carry: None,
        }
    }

    /// True while the bytes read so far end within a frame.
    pub fn is_midway(&self) -> bool {
        self.carry.is_some()
    }

    /// Takes the next bytes of the stream and hands each frame they complete to `each`, until it breaks or the peer breaks
    /// the rules; the bytes after that are dropped, as the connection ends then. Unmasks `chunk` in place.
    pub fn read(
        &mut self,
        mut chunk: &mut [u8],
        mut each: impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<(), Violation> {
        while let Some(mut carry) = self.carry.take() {
            if chunk.is_empty() {
                self.carry = Some(carry);
                return Ok(());
            }
            chunk = self.refill(&mut carry.0, chunk)?;
            match self.head(&carry.0)? {
                Some(head) if carry.0.len() == head.bytes + head.payload => {
                    if each(frame(&head, &mut carry.0[head.bytes..])?).is_break() {
                        return Ok(());
                    }
                }
                _ => self.carry = Some(carry),
            }
        }
        while !chunk.is_empty() {
            let head = match self.head(chunk)? {
                Some(head) if head.bytes + head.payload <= chunk.len() => head,
                _ => {
                    self.carry = Some(Box::new(Carry(chunk.to_vec())));
                    return Ok(());
                }
            };
            let (whole, rest) = chunk.split_at_mut(head.bytes + head.payload);
            if each(frame(&head, &mut whole[head.bytes..])?).is_break() {
                return Ok(());
            }
            chunk = rest;
        }
        Ok(())
    }

    /// Moves bytes from the chunk to the incomplete frame, no more than it needs next. Returns what is left of the chunk.
    fn refill<'c>(&self, carry: &mut Vec<u8>, chunk: &'c mut [u8]) -> Result<&'c mut [u8], Violation> {
        let wanted = match self.head(carry)? {
            Some(head) => head.bytes + head.payload - carry.len(),
            // A head grows byte by byte: that is rare, and never reads into the next frame.
            None => 1,
        };
        let (taken, rest) = chunk.split_at_mut(wanted.min(chunk.len()));
        grow(carry, taken.len(), carry.len() + wanted);
        carry.extend_from_slice(taken);
        Ok(rest)
    }

    /// Reads a head; `None` when it isn't whole yet. What can be refused early is.
    fn head(&self, bytes: &[u8]) -> Result<Option<Head>, Violation> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let opcode = opcode(*first)?;
        if (second & MASKED != 0) != (self.role == Role::Server) {
            return Err(Violation::Mask);
        }
        let short = second & !MASKED;
        if opcode.is_control() && (usize::from(short) > CONTROL_BYTES || first & FIN == 0) {
            return Err(Violation::Control);
        }
        let Some((payload, length_bytes)) = length(short, rest)? else {
            return Ok(None);
        };
        if payload > u64::from(self.limit) {
            return Err(Violation::TooBig);
        }
        let (key, key_bytes) = match (self.role, rest[length_bytes..].first_chunk()) {
            (Role::Client, _) => ([0; 4], 0),
            (Role::Server, Some(key)) => (*key, 4),
            (Role::Server, None) => return Ok(None),
        };
        Ok(Some(Head {
            opcode,
            key,
            bytes: 2 + length_bytes + key_bytes,
            payload: payload as usize,
        }))
    }
}

/// Makes room for more bytes of a frame that will have `whole`: in doubling steps, so that memory follows what was sent
/// and not what was announced.
fn grow(carry: &mut Vec<u8>, more: usize, whole: usize) {
    let needed = carry.len() + more;
    if needed > carry.capacity() {
        let target = (2 * carry.capacity()).min(whole).max(needed);
        carry.reserve_exact(target - carry.len());
    }
}

/// The opcode in the first byte of a frame that stands alone.
fn opcode(first: u8) -> Result<Opcode, Violation> {
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = Opcode::of(first & 0x0f).ok_or(Violation::ReservedOpcode)?;
    if opcode == Opcode::Continuation {
        return Err(Violation::Continuation);
    }
    if first & FIN == 0 && !opcode.is_control() {
        return Err(Violation::Fragmented);
    }
    Ok(opcode)
}

/// The length of the payload and how many bytes after the second told it; `None` when they aren't all there.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let (length, bytes, least) = match short {
        126 => (
            rest.first_chunk().map(|two| u64::from(u16::from_be_bytes(*two))),
            2,
            126,
        ),
        127 => (rest.first_chunk().map(|eight| u64::from_be_bytes(*eight)), 8, 0x1_0000),
        short => (Some(u64::from(short)), 0, 0),
    };
    match length {
        Some(length) if length < least => Err(Violation::Length),
        Some(length) => Ok(Some((length, bytes))),
        None => Ok(None),
    }
}

fn frame<'b>(head: &Head, payload: &'b mut [u8]) -> Result<Frame<'b>, Violation> {
    mask(payload, head.key);
    let opcode = head.opcode;
    match opcode {
        Opcode::Text if std::str::from_utf8(payload).is_err() => Err(Violation::NotUtf8),
        Opcode::Close => check_close(payload).map(|()| Frame { opcode, payload }),
        _ => Ok(Frame { opcode, payload }),
    }
}

/// A close frame is empty, or a code that may be sent and a reason (RFC 6455, section 7.4).
fn check_close(payload: &[u8]) -> Result<(), Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(())
        } else {
            Err(Violation::CloseCode)
        };
    };
    match u16::from_be_bytes(*code) {
        1000..=1003 | 1007..=1014 | 3000..=4999 if std::str::from_utf8(reason).is_ok() => Ok(()),
        1000..=1003 | 1007..=1014 | 3000..=4999 => Err(Violation::NotUtf8),
        _ => Err(Violation::CloseCode),
    }
}

#[cfg(test)]
mod tests;
