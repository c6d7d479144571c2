//! Refresh tokens: a login's id, the secret its whole family shares, and 256 bits of its own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use rookery_actors::id::LoginId;
use rookery_actors::ports::directory::Digest;

use super::super::random;

const ID: usize = 16;
const SECRET: usize = 32;

/// A refresh token in the clear, on its way to or from its owner. Nothing of it is stored but digests.
pub struct RefreshToken {
    pub login: LoginId,
    family: [u8; SECRET],
    secret: [u8; SECRET],
}

impl RefreshToken {
    /// The first of a login.
    pub fn first(login: LoginId) -> Self {
        Self {
            login,
            family: random(),
            secret: random(),
        }
    }

    /// The one after this.
    pub fn next(&self) -> Self {
        Self {
            login: self.login,
            family: self.family,
            secret: random(),
        }
    }

    /// Reads what a client presents.
    pub fn parse(text: &str) -> Option<Self> {
        // The decoder is given no more than a token of ours can be.
        let bytes = (text.len() <= 128)
            .then(|| URL_SAFE_NO_PAD.decode(text).ok())
            .flatten()?;
        let (id, secrets) = bytes.split_at_checked(ID)?;
        let (family, secret) = secrets.split_at_checked(SECRET)?;
        Some(Self {
            login: LoginId::from_slice(id)?,
            family: family.try_into().ok()?,
            secret: secret.try_into().ok()?,
        })
    }

    /// The text a client keeps.
    pub fn text(&self) -> String {
        let bytes = [self.login.as_bytes().as_slice(), &self.family, &self.secret].concat();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn family_digest(&self) -> Digest {
        sha256(&self.family)
    }

    pub fn secret_digest(&self) -> Digest {
        sha256(&self.secret)
    }
}

fn sha256(secret: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, secret).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text() {
        let token = RefreshToken::first(LoginId::fresh());
        let read = RefreshToken::parse(&token.text()).unwrap();
        assert_eq!(read.login, token.login);
        assert_eq!(read.family_digest(), token.family_digest());
        assert_eq!(read.secret_digest(), token.secret_digest());
    }

    #[test]
    fn the_next_one_is_of_the_same_family() {
        let token = RefreshToken::first(LoginId::fresh());
        let next = token.next();
        assert_eq!((next.login, next.family_digest()), (token.login, token.family_digest()));
        assert_ne!(next.secret_digest(), token.secret_digest());
    }

    #[test]
    fn nonsense_is_no_token() {
        let text = RefreshToken::first(LoginId::fresh()).text();
        for bad in ["", "x", &text[1..], &format!("{text}AAAA"), &"A".repeat(100_000), "ü"] {
            assert!(RefreshToken::parse(bad).is_none());
        }
    }
}
