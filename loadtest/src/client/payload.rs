//! What a test message says: who sent it, which of theirs it is, when it should have been sent, and enough text to be checked.
//!
//! The client message id is `run sender n` in hexadecimal; the body is the intended start in hexadecimal and then text that
//! follows from the key, so that a message that came back changed is noticed.

use std::fmt;

/// Bytes of a client message id.
pub const ID: usize = 24;
/// Bytes of the stamp at the start of a body.
pub const STAMP: usize = 16;

/// Which message it is: the sender's number and the sender's own count (from 1). Never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

impl Key {
    /// The `n`-th message (from 0) of a sender.
    pub fn new(sender: u32, n: u32) -> Self {
        Self(u64::from(sender) << 32 | u64::from(n + 1))
    }

    pub fn sender(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Its place in the sender's row, from 0.
    pub fn n(self) -> u32 {
        (self.0 as u32).wrapping_sub(1)
    }

    /// The client message id in this run.
    pub fn id(self, run: u32) -> Id {
        let mut text = [0; ID];
        hex(u64::from(run), &mut text[..8]);
        hex(self.0, &mut text[8..]);
        Id(text)
    }

    /// Reads a client message id; `None` when it isn't one of this run.
    #[inline]
    pub fn read(run: u32, id: &[u8]) -> Option<Self> {
        let (prefix, key) = id.split_at_checked(8)?;
        let key = number(key)?;
        (number(prefix)? == u64::from(run) && id.len() == ID && key as u32 != 0).then_some(Self(key))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of client {}", self.n(), self.sender())
    }
}

/// A client message id as text.
#[derive(Clone, Copy)]
pub struct Id([u8; ID]);

impl Id {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

/// A body of about `size` bytes.
pub fn body(key: Key, stamp_ns: u64, size: usize) -> String {
    let mut text = [0; STAMP];
    hex(stamp_ns, &mut text);
    let fill = std::iter::repeat_n(fill(key), size.saturating_sub(STAMP));
    text.iter().copied().chain(fill).map(char::from).collect()
}

/// The intended start a body begins with.
#[inline]
pub fn stamp(body: &[u8]) -> Option<u64> {
    number(body.get(..STAMP)?)
}

/// True when the body is the one its key had.
pub fn is_intact(key: Key, body: &str) -> bool {
    let (stamp, rest) = body.as_bytes().split_at(STAMP.min(body.len()));
    stamp.len() == STAMP && number(stamp).is_some() && rest.iter().all(|byte| *byte == fill(key))
}

fn fill(key: Key) -> u8 {
    b'a' + (key.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8 % 26
}

fn hex(value: u64, out: &mut [u8]) {
    let digits = out.len();
    for (n, byte) in out.iter_mut().enumerate() {
        *byte = b"0123456789abcdef"[(value >> (4 * (digits - 1 - n))) as usize & 15];
    }
}

#[inline]
fn number(hex: &[u8]) -> Option<u64> {
    let mut value = 0;
    for byte in hex {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u64::from(digit);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_message_in_its_run_only() {
        let key = Key::new(70_000, 4_000_000_000);
        let id = key.id(0xbeef);
        assert_eq!(Key::read(0xbeef, id.as_bytes()), Some(key));
        assert_eq!(Key::read(0xbef0, id.as_bytes()), None);
        assert_eq!(Key::read(0xbeef, b"somebody else's message"), None);
        assert_eq!((key.sender(), key.n()), (70_000, 4_000_000_000));
    }

    #[test]
    fn a_changed_body_is_noticed() {
        let key = Key::new(1, 2);
        let text = body(key, 77, 100);
        assert_eq!((text.len(), stamp(text.as_bytes())), (100, Some(77)));
        assert!(is_intact(key, &text));
        assert!(!is_intact(Key::new(1, 3), &text));
        assert!(!is_intact(key, &text[..10]));
        assert!(!is_intact(key, &format!("{text}?")));
    }
}
