//! Query strings and percent-encoding.

use std::str::FromStr;

use rookery_actors::protocol::{ErrorCode, Problem};

/// The decoded parameters of a query string. Of one that stands twice the first counts; unknown ones are ignored.
#[derive(Clone, Default, Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes `a=1&b=two+words%21`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name, true), decode(value, true)) {
                (Some(name), Some(value)) => pairs.push((name, value)),
                _ => {
                    return Err(Problem::new(
                        ErrorCode::BadRequest,
                        "the query is not percent-encoded UTF-8",
                    ));
                }
            }
        }
        Ok(Self(pairs))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter of a type; `bad_request` when it is there and isn't one.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| wrong(name)),
        }
    }

    /// A switch: `true`, `1` or nothing after the name turn it on.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1" | "") => Ok(true),
            Some(_) => Err(wrong(name)),
        }
    }

    /// A whole number held within bounds; `bad_request` when it isn't one.
    pub fn clamped(&self, name: &str, default: usize, low: usize, high: usize) -> Result<usize, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong(name));
        }
        // What does not fit a usize is certainly beyond the upper bound.
        let value = if negative {
            0
        } else {
            digits.parse().unwrap_or(usize::MAX)
        };
        Ok(value.clamp(low, high))
    }
}

fn wrong(name: &str) -> Problem {
    Problem::new(
        ErrorCode::BadRequest,
        format!("query parameter {name} has no such value"),
    )
}

/// Undoes percent-encoding; `None` when it is malformed or not UTF-8.
pub fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::{Query, decode};

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse("query=J%C3%BCrgen+B&limit=5&limit=6&&flag").unwrap();
        assert_eq!(query.get("query"), Some("Jürgen B"));
        assert_eq!(query.get("limit"), Some("5"));
        assert!(query.flag("flag").unwrap());
        assert!(!query.flag("other").unwrap());
        assert!(Query::parse("a=%zz").is_err());
        assert!(Query::parse("a=%ff").is_err());
    }

    #[test]
    fn limits_are_clamped_and_nonsense_is_refused() {
        let limit = |text: &str| Query::parse(text).unwrap().clamped("limit", 100, 1, 500);
        assert_eq!(limit(""), Ok(100));
        assert_eq!(limit("limit=0"), Ok(1));
        assert_eq!(limit("limit=-7"), Ok(1));
        assert_eq!(limit("limit=99999999999999999999999"), Ok(500));
        assert!(limit("limit=ten").is_err());
        assert!(limit("limit=").is_err());
    }

    #[test]
    fn a_path_segment_keeps_its_plus() {
        assert_eq!(decode("a+b%2Fc", false).as_deref(), Some("a+b/c"));
        assert_eq!(decode("%F0%9F%91%8D", false).as_deref(), Some("👍"));
        assert_eq!(decode("%F", false), None);
    }
}
