//! Percent-encoding (RFC 3986, section 2.1).

use std::fmt::Write;

/// Escapes every byte but the unreserved ones, which is safe in a path segment, a query value and an RFC 8187 parameter.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::encode;
    use crate::gateway::http::decode;

    #[test]
    fn only_unreserved_bytes_stay_as_they_are() {
        assert_eq!(encode("a-Z_0.~"), "a-Z_0.~");
        assert_eq!(encode("a b/\"é\r\n&=+"), "a%20b%2F%22%C3%A9%0D%0A%26%3D%2B");
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in ".*", plus_is_space: bool) {
            prop_assert_eq!(decode(&encode(&text), plus_is_space), Some(text));
        }
    }
}
