//! What a client may announce as a file. Pure.

use rookery_actors::id::{FileId, UserId};
use rookery_actors::ports::files::{File, FileState};
use rookery_actors::protocol::{ErrorCode, Problem};
use rookery_actors::time::Timestamp;
use serde::Deserialize;

/// As long as a file name may be on every common file system.
const NAME_BYTES: usize = 255;
/// Twice what RFC 6838 allows each half of a type, parameters included.
const TYPE_BYTES: usize = 255;

/// The body of `POST /api/files`.
#[derive(Clone, Debug, Deserialize)]
pub struct NewFile {
    pub name: String,
    #[serde(rename = "type")]
    pub media_type: String,
    /// In bytes.
    pub size: u64,
    /// In hexadecimal digits.
    #[serde(default)]
    pub sha256: Option<String>,
}

impl NewFile {
    /// A pending file of that owner, if everything of it is in order.
    pub(super) fn check(self, owner: UserId, file_bytes: u64, now: Timestamp) -> Result<File, Problem> {
        if !is_name(&self.name) {
            let why = format!("must be 1 to {NAME_BYTES} bytes without control characters");
            return Err(Problem::field("name", why));
        }
        if !is_media_type(&self.media_type) {
            return Err(Problem::field("type", "is no media type like image/png"));
        }
        if self.size == 0 {
            return Err(Problem::field("size", "must be at least 1"));
        }
        if self.size > file_bytes {
            let why = format!("size: more than {file_bytes}");
            return Err(Problem::new(ErrorCode::TooLarge, why));
        }
        let sha256 = match self.sha256.as_deref().map(digest) {
            Some(None) => return Err(Problem::field("sha256", "must be 64 hexadecimal digits")),
            Some(digest) => digest,
            None => None,
        };
        Ok(File {
            id: FileId::fresh(),
            owner,
            name: self.name,
            media_type: self.media_type,
            size: self.size,
            sha256,
            state: FileState::Pending,
            upload: None,
            photo: None,
            created_at: now,
        })
    }
}

/// Whether a media type is that of an image.
pub(super) fn is_image(media_type: &str) -> bool {
    media_type
        .split_once('/')
        .is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("image"))
}

fn is_name(name: &str) -> bool {
    let blank = name.trim().is_empty() || name == "." || name == "..";
    !blank && name.len() <= NAME_BYTES && !name.chars().any(char::is_control)
}

/// `type/subtype` (RFC 6838), perhaps with parameters, and nothing a header could not carry.
fn is_media_type(text: &str) -> bool {
    let printable = text.len() <= TYPE_BYTES && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let essence = text.split(';').next().unwrap_or("").trim_end();
    let token = |half: &str| {
        !half.is_empty()
            && half
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    printable
        && essence
            .split_once('/')
            .is_some_and(|(kind, sub)| token(kind) && token(sub))
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = (value(pair[0])? << 4 | value(pair[1])?) as u8;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, media_type: &str, size: u64, sha256: Option<&str>) -> Result<File, Problem> {
        let new = NewFile {
            name: name.into(),
            media_type: media_type.into(),
            size,
            sha256: sha256.map(String::from),
        };
        new.check(UserId::fresh(), 1000, Timestamp(7))
    }

    fn field(outcome: Result<File, Problem>) -> String {
        let problem = outcome.expect_err("it is refused");
        assert_eq!(problem.code, ErrorCode::InvalidField);
        problem.errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_good_announcement_is_a_pending_file() {
        let file = new("grüße.txt", "text/plain; charset=utf-8", 1000, Some(&"aF".repeat(32))).expect("a good one");
        assert_eq!(
            (file.size, file.state, file.sha256),
            (1000, FileState::Pending, Some([0xaf; 32]))
        );
        assert!(new("a tiny one", "application/vnd.a+b", 1, None).is_ok());
    }

    #[test]
    fn a_wrong_field_is_named() {
        for name in ["", " ", "..", "a\nb", "a\0b", &"x".repeat(256)] {
            assert_eq!(field(new(name, "text/plain", 1, None)), "name", "{name:?}");
        }
        for media_type in [
            "",
            "text",
            "text/",
            "/plain",
            "te xt/plain",
            "text/pl\nain",
            "text/plain\r\nx: y",
            "a/b/c",
        ] {
            assert_eq!(field(new("a", media_type, 1, None)), "type", "{media_type:?}");
        }
        for sum in ["", "aa", &"g".repeat(64), &"é".repeat(32), &"a".repeat(65)] {
            assert_eq!(field(new("a", "a/b", 1, Some(sum))), "sha256", "{sum:?}");
        }
    }

    #[test]
    fn an_empty_file_is_none() {
        assert_eq!(field(new("a", "a/b", 0, None)), "size");
    }

    #[test]
    fn a_file_beyond_the_limit_is_too_large() {
        let refused = new("a", "a/b", 1001, None).expect_err("it is too large");
        assert_eq!(refused.code, ErrorCode::TooLarge);
    }

    #[test]
    fn only_pictures_are_images() {
        assert!(is_image("image/png"));
        assert!(is_image("IMAGE/JPEG; q=1"));
        for media_type in ["text/html", "images/png", "application/image", "image"] {
            assert!(!is_image(media_type), "{media_type}");
        }
    }
}
