//! What names, addresses, passwords and the rest must look like. Pure.

use rookery_actors::ports::accounts::AccountPatch;
use rookery_actors::protocol::error::FieldError;
use rookery_actors::protocol::{ErrorCode, Json, Problem};

use super::requests::ProfilePatch;

const NAME_CHARS: usize = 100;
const STATUS_CHARS: usize = 200;
const USERNAME_CHARS: std::ops::RangeInclusive<usize> = 3..=32;
/// RFC 5321 allows a path of 256 octets, angle brackets included.
const EMAIL_BYTES: usize = 254;
const PREFERENCES_BYTES: usize = 16 * 1024;
/// In bytes. Eight is NIST's floor; the ceiling only keeps bodies small, as Argon2 digests its input first. There are no
/// rules of composition: they make passwords worse.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;

/// Collects what is wrong with a request, so that the answer names every field.
#[derive(Default)]
pub struct Fields(Vec<FieldError>);

impl Fields {
    /// Takes a field that must be there; an empty text stands for one that is wrong, until [`Fields::done`].
    pub fn required(&mut self, field: &str, value: Option<String>, check: fn(&str) -> Result<(), String>) -> String {
        match value {
            Some(value) => self.checked(field, value, check),
            None => {
                self.wrong(field, "is required");
                String::new()
            }
        }
    }

    pub fn checked(&mut self, field: &str, value: String, check: fn(&str) -> Result<(), String>) -> String {
        if let Err(message) = check(&value) {
            self.wrong(field, &message);
        }
        value
    }

    pub fn wrong(&mut self, field: &str, message: &str) {
        self.0.push(FieldError {
            field: field.into(),
            message: message.into(),
        });
    }

    /// The one `invalid_field` problem of all that was wrong.
    pub fn done(self) -> Result<(), Problem> {
        let Some(first) = self.0.first() else {
            return Ok(());
        };
        let detail = format!("{}: {}", first.field, first.message);
        Err(Problem {
            errors: self.0,
            ..Problem::new(ErrorCode::InvalidField, detail)
        })
    }
}

pub fn email(email: &str) -> Result<(), String> {
    let Some((local, domain)) = email.split_once('@') else {
        return Err("is no e-mail address".into());
    };
    let strange =
        |character: char| character.is_whitespace() || character.is_control() || "()<>,;:\\\"[]@".contains(character);
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    let domain_fits = |character: char| character.is_alphanumeric() || character == '-' || character == '.';
    let sane = !local.is_empty()
        && local.len() <= 64
        && !local.contains(strange)
        && domain.split('.').all(label)
        && domain.chars().all(domain_fits);
    match sane {
        _ if email.len() > EMAIL_BYTES => Err(format!("is longer than {EMAIL_BYTES} bytes")),
        true => Ok(()),
        false => Err("is no e-mail address".into()),
    }
}

pub fn username(username: &str) -> Result<(), String> {
    if !username.chars().all(fits_username) {
        return Err("may hold letters a-z, digits, and _ . - only".into());
    }
    if USERNAME_CHARS.contains(&username.len()) {
        Ok(())
    } else {
        Err("must have 3 to 32 characters".into())
    }
}

fn fits_username(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_.-".contains(character)
}

pub fn name(name: &str) -> Result<(), String> {
    match name.chars().count() {
        _ if name.trim().is_empty() => Err("must not be blank".into()),
        _ if name.chars().any(char::is_control) => Err("must not hold control characters".into()),
        1..=NAME_CHARS => Ok(()),
        _ => Err(format!("must have at most {NAME_CHARS} characters")),
    }
}

pub fn password(password: &str) -> Result<(), String> {
    if PASSWORD_BYTES.contains(&password.len()) {
        Ok(())
    } else {
        Err("must have 8 to 1024 bytes".into())
    }
}

/// For what is only compared: anything goes.
pub fn anything(_: &str) -> Result<(), String> {
    Ok(())
}

fn status_message(text: &str) -> Result<(), String> {
    if text.chars().count() <= STATUS_CHARS {
        Ok(())
    } else {
        Err(format!("must have at most {STATUS_CHARS} characters"))
    }
}

/// A patch of a profile as the store takes it.
pub fn patch(patch: ProfilePatch) -> Result<AccountPatch, Problem> {
    let mut fields = Fields::default();
    let must_stay = "cannot be null";
    let mut text = |field: &str, value: Option<Option<String>>, check: fn(&str) -> Result<(), String>| match value {
        Some(Some(value)) => Some(fields.checked(field, value, check)),
        Some(None) => {
            fields.wrong(field, must_stay);
            None
        }
        None => None,
    };
    let name = text("name", patch.name, name);
    let username = text("username", patch.username, username);
    let status_message = patch
        .status_message
        .map(|status| status.map(|status| fields.checked("status_message", status, status_message)))
        .map(|status| status.filter(|status| !status.is_empty()));
    let preferences = match patch.preferences {
        Some(value) => preferences(&mut fields, value.as_ref()),
        None => None,
    };
    fields.done()?;
    Ok(AccountPatch {
        name,
        username,
        status_message,
        photo: patch.photo,
        preferences,
    })
}

fn preferences(fields: &mut Fields, value: Option<&serde_json::Value>) -> Option<Json> {
    let Some(value) = value.filter(|value| value.is_object()) else {
        fields.wrong("preferences", "must be an object");
        return None;
    };
    let json = Json::from(value);
    if json.as_str().len() > PREFERENCES_BYTES {
        fields.wrong(
            "preferences",
            &format!("must have at most {PREFERENCES_BYTES} bytes of JSON"),
        );
    }
    Some(json)
}

/// Usernames to try for somebody who named none, best first: from the e-mail address, then with more and more chance.
pub fn usernames(email: &str, mut chance: impl FnMut() -> u32) -> Vec<String> {
    /// Leaves room for a dash and eight digits.
    const STEM_CHARS: usize = 23;
    let local = email.split('@').next().unwrap_or_default().to_lowercase();
    let stem: String = local
        .chars()
        .filter(|character| fits_username(*character))
        .take(STEM_CHARS)
        .collect();
    let mut candidates = Vec::new();
    if username(&stem).is_ok() {
        candidates.push(stem.clone());
    }
    let stem = if stem.is_empty() { "user".into() } else { stem };
    candidates.extend((0..4).map(|_| format!("{stem}-{:04}", chance() % 10_000)));
    candidates.extend((0..4).map(|_| format!("{stem}-{:08x}", chance())));
    candidates
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_told_from_nonsense() {
        for good in [
            "a@b.c",
            "ada.lovelace+x@mail.example.com",
            "jürgen@münchen.example",
            "me@localhost",
        ] {
            assert_eq!(email(good), Ok(()), "{good}");
        }
        let long = format!("a@{}.com", "x".repeat(250));
        for bad in [
            "", "a", "@b.c", "a@", "a@b@c", "a b@c.d", "a@b..c", "a@.c", "a@-b.c", "a\n@b.c", &long,
        ] {
            assert!(email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_counted_in_scalar_values() {
        assert_eq!(name(&"é".repeat(100)), Ok(()));
        assert!(name(&"é".repeat(101)).is_err());
        for bad in ["", "  ", "a\u{7}b"] {
            assert!(name(bad).is_err());
        }
    }

    #[test]
    fn usernames_have_an_alphabet_and_a_length() {
        for good in ["abc", "A_b.c-9", &"x".repeat(32)] {
            assert_eq!(username(good), Ok(()));
        }
        for bad in ["", "ab", "añb", "a b", &"x".repeat(33)] {
            assert!(username(bad).is_err());
        }
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        let wrong = ProfilePatch {
            name: Some(None),
            username: Some(Some("!".into())),
            preferences: Some(Some(serde_json::json!([1]))),
            ..ProfilePatch::default()
        };
        let problem = patch(wrong).unwrap_err();
        let fields: Vec<_> = problem.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["name", "username", "preferences"]);
    }

    #[test]
    fn null_clears_and_absence_keeps() {
        let given: ProfilePatch = serde_json::from_str(r#"{"status_message":null,"photo":null}"#).unwrap();
        let patch = patch(given).unwrap();
        assert_eq!((patch.status_message, patch.photo), (Some(None), Some(None)));
        assert_eq!((patch.name, patch.username, patch.preferences), (None, None, None));
    }

    #[test]
    fn preferences_are_measured_as_compact_json() {
        let of = |length: usize| ProfilePatch {
            preferences: Some(Some(serde_json::json!({ "k": "x".repeat(length) }))),
            ..ProfilePatch::default()
        };
        let frame = r#"{"k":""}"#.len();
        assert!(patch(of(PREFERENCES_BYTES - frame)).is_ok());
        assert!(patch(of(PREFERENCES_BYTES - frame + 1)).is_err());
    }

    proptest! {
        #[test]
        fn every_derived_username_is_a_valid_one(email in "\\PC{0,80}@[a-z]{1,9}\\.de", chance in any::<u32>()) {
            let candidates = usernames(&email, || chance);
            prop_assert!(candidates.len() >= 8);
            for candidate in candidates {
                prop_assert_eq!(username(&candidate), Ok(()));
            }
        }
    }

    #[test]
    fn the_first_choice_is_what_stands_before_the_at() {
        assert_eq!(usernames("Ada.King@example.com", || 7)[0], "ada.king");
        assert_eq!(usernames("jo@example.com", || 7)[0], "jo-0007");
    }
}
