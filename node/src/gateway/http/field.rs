//! Which field of a JSON body an error is about, so that `invalid_field` can name it.

use rookery_actors::protocol::{ErrorCode, Problem};
use serde_json::error::Category;

/// The problem of a body that could not be read as what the route wants.
pub fn problem(body: &[u8], error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    if error.classify() != Category::Data {
        return Problem::new(ErrorCode::BadRequest, format!("the body is not JSON: {text}"));
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        return Problem::new(ErrorCode::BadRequest, format!("the body is not an object: {text}"));
    }
    let missing = between(&text, "missing field `", "`");
    let mut path = path_at(body, error.line(), error.column(), missing.is_some());
    if let Some(missing) = missing {
        path.push(missing.into());
        return Problem::field(path.join("."), "is required");
    }
    if path.is_empty() {
        return Problem::new(ErrorCode::BadRequest, format!("the body has the wrong shape: {text}"));
    }
    let message = text.split(" at line ").next().unwrap_or(&text);
    Problem::field(path.join("."), message)
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let start = text.find(before)? + before.len();
    text[start..].split(after).next()
}

/// One open object or array on the way to a position.
enum Level {
    Object { key: Option<String> },
    Array { index: usize },
}

/// The path of the value that ends at a position; the document is well formed up to there. At the end of an object in which
/// something is missing it is the object's own.
fn path_at(body: &[u8], line: usize, column: usize, of_object: bool) -> Vec<String> {
    let start: usize = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    // The column points one beyond the value; a bracket or comma there belongs to what follows it.
    let end = (start + column.saturating_sub(1)).min(body.len());
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    while at < end {
        match body[at] {
            b'"' => {
                let close = string_end(body, at);
                if close <= end && followed_by_colon(body, close) {
                    name_key(&mut levels, &body[at..close]);
                }
                at = close;
                continue;
            }
            b'{' => levels.push(Level::Object { key: None }),
            b'[' => levels.push(Level::Array { index: 0 }),
            b'}' | b']' => drop(levels.pop()),
            b',' => next_element(&mut levels),
            _ => {}
        }
        at += 1;
    }
    if of_object {
        levels.pop();
    }
    levels.into_iter().filter_map(name).collect()
}

/// The end of the string that starts at a position, quotes included.
fn string_end(body: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < body.len() {
        match body[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    body.len()
}

fn followed_by_colon(body: &[u8], at: usize) -> bool {
    body[at..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

fn name_key(levels: &mut [Level], quoted: &[u8]) {
    if let Some(Level::Object { key }) = levels.last_mut() {
        *key = serde_json::from_slice(quoted).ok();
    }
}

fn next_element(levels: &mut [Level]) {
    match levels.last_mut() {
        Some(Level::Object { key }) => *key = None,
        Some(Level::Array { index }) => *index += 1,
        None => {}
    }
}

fn name(level: Level) -> Option<String> {
    match level {
        Level::Object { key } => key,
        Level::Array { index } => Some(index.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use rookery_actors::protocol::ErrorCode;
    use serde::Deserialize;

    #[derive(Deserialize, Debug)]
    #[allow(dead_code)]
    struct Wanted {
        name: String,
        #[serde(default)]
        members: Vec<u32>,
        #[serde(default)]
        to: Option<Inner>,
    }

    #[derive(Deserialize, Debug)]
    #[allow(dead_code)]
    struct Inner {
        user: rookery_actors::id::UserId,
    }

    fn refused(body: &str) -> (ErrorCode, Vec<String>) {
        let error = serde_json::from_str::<Wanted>(body).unwrap_err();
        let problem = super::problem(body.as_bytes(), &error);
        (
            problem.code,
            problem.errors.into_iter().map(|field| field.field).collect(),
        )
    }

    #[test]
    fn what_is_not_json_or_not_an_object_is_a_bad_request() {
        for body in ["", "{", "[", "{\"name\": }", "[1]", "\"text\"", "7"] {
            assert_eq!(refused(body), (ErrorCode::BadRequest, vec![]), "{body}");
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        let field = |body: &str| {
            let (code, fields) = refused(body);
            assert_eq!(code, ErrorCode::InvalidField, "{body}");
            fields.join(" ")
        };
        assert_eq!(field("{}"), "name");
        assert_eq!(field("{\"members\": []}"), "name");
        assert_eq!(field("{\"name\":\"a\",\"to\":{\"other\": [1]}}"), "to.user");
        assert_eq!(field("{\"name\": 7}"), "name");
        assert_eq!(field("{\"name\":\"a\",\n \"members\": [1, 2, \"x\"]}"), "members.2");
        assert_eq!(field("{\"name\":\"a\",\"members\":{}}"), "members");
        assert_eq!(field("{\"name\":\"a\",\"to\":{\"user\":\"nobody\"}}"), "to.user");
        assert_eq!(field("{\"name\":\"a\",\"to\":{}}"), "to.user");
        assert_eq!(field("{\"name\":null}"), "name");
    }
}
