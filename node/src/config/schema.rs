//! All keys by name, and the nearest one to a name that is none.

use toml::Value;

use super::section::{Key, Part};

/// Every section and key there is.
#[derive(Clone, Debug)]
pub struct Schema {
    pub parts: Vec<Part>,
}

impl Schema {
    /// All keys, in the manual's order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.parts.iter().flat_map(|part| &part.keys)
    }

    pub fn key(&self, path: &str) -> Option<&Key> {
        self.keys().find(|key| key.path() == path)
    }

    /// Whether the name is a section's.
    pub fn is_section(&self, name: &str) -> bool {
        !name.is_empty() && self.parts.iter().any(|part| part.name == name)
    }

    /// The end of a sentence about an unknown name: what was probably meant.
    pub fn suggestion(&self, unknown: &str, spell: impl Fn(&Key) -> String) -> String {
        let lower = unknown.to_lowercase();
        let nearest = self.keys().min_by_key(|key| distance_to(&lower, &key.path()));
        match nearest {
            Some(key) if distance_to(&lower, &key.path()) <= lower.chars().count().max(4) / 2 => {
                format!("did you mean `{}`?", spell(key))
            }
            _ => "`rookery example-config` lists every key".to_owned(),
        }
    }
}

/// How far a written path is from a key's; a right name in the wrong section counts as near.
fn distance_to(written: &str, path: &str) -> usize {
    let last = |path: &str| path.rsplit('.').next().map(str::to_owned).unwrap_or_default();
    edits(written, path).min(edits(&last(written), &last(path)) + 1)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one name into the other (optimal string alignment).
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=to.len()).collect();
    for i in 1..=from.len() {
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[from.len()][to.len()]
}

/// What values like this one are called, for people.
pub fn wanted(default: &Value) -> &'static str {
    match default {
        Value::String(text) if text.parse::<std::net::SocketAddr>().is_ok() => {
            "an IP address and a port such as \"127.0.0.1:8080\""
        }
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list such as [\"a\", \"b\"]",
        Value::Datetime(_) => "a date",
        Value::Table(_) => "a section",
    }
}

/// Whether a value may stand where the default stands, by type.
pub fn fits(default: &Value, value: &Value) -> bool {
    default.same_type(value) || (default.is_float() && value.is_integer())
}

/// A value from a variable or a flag: read as the default's type says, so that nothing needs TOML's quotes.
pub fn read_as(default: &Value, text: &str) -> Option<Value> {
    match default {
        Value::String(_) => Some(Value::String(text.to_owned())),
        Value::Integer(_) => text.replace('_', "").parse().ok().map(Value::Integer),
        Value::Float(_) => text.parse().ok().map(Value::Float),
        Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
        Value::Array(_) => Some(list(text)),
        Value::Datetime(_) | Value::Table(_) => None,
    }
}

/// `["a", "b"]` or simply `a,b`.
fn list(text: &str) -> Value {
    let written = toml::from_str::<toml::Table>(&format!("list = {text}"));
    match written.ok().and_then(|mut table| table.remove("list")) {
        Some(list @ Value::Array(_)) => list,
        _ => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_what_a_hand_does_wrong() {
        for (from, to, expected) in [
            ("listen", "listen", 0),
            ("lisetn", "listen", 1),
            ("listn", "listen", 1),
            ("listenn", "listen", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(from, to), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn a_right_name_in_the_wrong_section_is_near() {
        assert_eq!(distance_to("body_bytes", "limits.body_bytes"), 1);
        assert_eq!(distance_to("gateway.body_bytes", "limits.body_bytes"), 1);
    }

    #[test]
    fn lists_are_taken_as_toml_or_with_commas() {
        let both = Value::Array(vec![Value::String("a".into()), Value::String("b".into())]);
        assert_eq!(list("a, b"), both);
        assert_eq!(list(r#"["a", "b"]"#), both);
        assert_eq!(list(""), Value::Array(Vec::new()));
    }
}
