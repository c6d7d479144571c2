//! The application's own data inside a message: any JSON, carried opaquely.

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// How deep data may be nested. JSON parsers stop at 128 as a rule, and a message travels a few levels deep itself.
const DEPTH: usize = 100;

/// Any JSON value, kept as its compact text; MessagePack carries it as the equivalent map, list or scalar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Json(Box<str>);

impl Json {
    /// The compact text, whose length in bytes is what `limits.data_bytes` bounds.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes text this server has written itself (from its own log or store).
    pub fn from_stored(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }
}

impl From<&serde_json::Value> for Json {
    fn from(value: &serde_json::Value) -> Self {
        Self(value.to_string().into())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
            raw.serialize(serializer)
        } else {
            let value: serde_json::Value = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
            value.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if is_deeper(&value, DEPTH) {
            return Err(D::Error::custom(format_args!("nested deeper than {DEPTH} levels")));
        }
        serde_json::to_string(&value)
            .map(|text| Self(text.into()))
            .map_err(D::Error::custom)
    }
}

fn is_deeper(value: &serde_json::Value, levels: usize) -> bool {
    match value {
        serde_json::Value::Array(_) | serde_json::Value::Object(_) if levels == 0 => true,
        serde_json::Value::Array(items) => items.iter().any(|item| is_deeper(item, levels - 1)),
        serde_json::Value::Object(fields) => fields.values().any(|item| is_deeper(item, levels - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn data_is_kept_as_its_compact_text() {
        let data: Json = serde_json::from_str(" { \"b\" : [ 1 , 2.5, \"\u{e4}\" ], \"a\" : null } ").unwrap();
        assert_eq!(data.as_str(), "{\"b\":[1,2.5,\"\u{e4}\"],\"a\":null}");
    }

    #[test]
    fn data_nested_deeper_than_every_client_can_read_is_refused() {
        assert!(serde_json::from_str::<Json>(&nested(100)).is_ok());
        assert!(serde_json::from_str::<Json>(&nested(101)).is_err());
    }

    #[test]
    fn data_hidden_in_a_raw_value_counts_with_its_depth() {
        let hidden = format!("{{\"$serde_json::private::RawValue\":\"{}\"}}", nested(120));
        let deep = format!("{}{hidden}{}", "[".repeat(60), "]".repeat(60));
        assert!(serde_json::from_str::<Json>(&deep).is_err());
    }
}
