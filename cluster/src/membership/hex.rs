//! A fingerprint as people and other tools write it.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use super::Fingerprint;

pub fn serialize<S: Serializer>(bytes: &Fingerprint, serializer: S) -> Result<S::Ok, S::Error> {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&text)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fingerprint, D::Error> {
    let text = String::deserialize(deserializer)?;
    read(&text).ok_or_else(|| D::Error::custom("64 hexadecimal digits are wanted"))
}

fn read(text: &str) -> Option<Fingerprint> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    Fingerprint::try_from(bytes).ok().filter(|_| digits.len() == 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sixty_four_digits_are_a_fingerprint() {
        assert_eq!(read(&"0f".repeat(32)), Some([15; 32]));
        for bad in [
            "",
            "0f",
            &"0g".repeat(32),
            &"0f".repeat(33),
            &"0".repeat(65),
            &"ü".repeat(32),
        ] {
            assert_eq!(read(bad), None);
        }
    }
}
