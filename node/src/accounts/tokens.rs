//! Tokens. An access token says who somebody is, for a short time, to anyone who holds the key; a refresh token gets the
//! next pair, once.
//!
//! An access token is a JWT (HS256) whose header is, byte for byte, the header of a key of the ring: it is compared, not
//! parsed, so no token can choose how it is checked. A check takes about two microseconds even in a debug build.

mod keys;
mod provider;
mod refresh;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use rookery_actors::id::{LoginId, UserId};
use rookery_actors::ports::directory::LEEWAY;
use rookery_actors::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::random;
pub use keys::{KeyError, KeyRing};
pub use refresh::RefreshToken;

/// No access token of ours is longer; anything that is, is refused before it is looked at.
const LONGEST: usize = 1024;

/// Why a token is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    Invalid,
    Expired,
    /// It was signed by a clock that was ahead. Would it be taken, it would outlive the memory of its being revoked.
    Early,
}

/// What an access token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Claims {
    pub sub: UserId,
    pub sid: LoginId,
    iat: i64,
    exp: i64,
}

#[derive(Serialize)]
struct Signed {
    sub: UserId,
    sid: LoginId,
    iat: i64,
    exp: i64,
    /// Makes two tokens of one second differ.
    jti: String,
}

impl Claims {
    /// When the token ends: when it says so, or earlier, when tokens live shorter by now.
    pub fn expires_at(&self, life_seconds: u32) -> Timestamp {
        let end = self.exp.min(self.iat.saturating_add(life_seconds.into()));
        Timestamp(end.saturating_mul(1000))
    }

    /// How long the token is good for yet; never longer than one that is signed now.
    pub fn left(&self, now: Timestamp, life_seconds: u32) -> Duration {
        let left = self.expires_at(life_seconds).0.saturating_sub(now.0);
        Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(Duration::from_secs(life_seconds.into()))
    }
}

/// Signs an access token that is valid for `life_seconds` from now.
pub fn sign(
    ring: &KeyRing,
    user: UserId,
    login: LoginId,
    now: Timestamp,
    life_seconds: u32,
) -> Result<String, jsonwebtoken::errors::Error> {
    let iat = now.0 / 1000;
    let claims = Signed {
        sub: user,
        sid: login,
        iat,
        exp: iat + i64::from(life_seconds),
        jti: URL_SAFE_NO_PAD.encode(random::<8>()),
    };
    let key = ring.newest();
    jsonwebtoken::encode(&key.header(), &claims, &key.encoding)
}

/// Checks an access token's signature and times.
pub fn verify(ring: &KeyRing, token: &str, now: Timestamp, life_seconds: u32) -> Result<Claims, Bad> {
    let claims = read(ring, token).ok_or(Bad::Invalid)?;
    if claims.expires_at(life_seconds) <= now {
        return Err(Bad::Expired);
    }
    if claims.iat.saturating_sub(LEEWAY.as_secs() as i64) > now.0.div_euclid(1000) {
        return Err(Bad::Early);
    }
    Ok(claims)
}

/// The claims of a token whose signature is right.
fn read(ring: &KeyRing, token: &str) -> Option<Claims> {
    if token.len() > LONGEST {
        return None;
    }
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    let key = ring.find(header)?;
    let genuine = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.decoding, Algorithm::HS256);
    if !genuine.unwrap_or(false) {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice(&claims).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const LIFE: u32 = 900;

    fn ring() -> (tempfile::TempDir, KeyRing) {
        let directory = tempfile::tempdir().unwrap();
        let ring = KeyRing::open(directory.path(), Duration::from_secs(900)).unwrap();
        (directory, ring)
    }

    fn later(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 + seconds * 1000)
    }

    #[test]
    fn a_token_says_who_signed_in_until_it_expires() {
        let (_directory, ring) = ring();
        let (user, login) = (UserId::fresh(), LoginId::fresh());
        let token = sign(&ring, user, login, NOW, LIFE).unwrap();
        let claims = verify(&ring, &token, later(899), LIFE).unwrap();
        assert_eq!((claims.sub, claims.sid), (user, login));
        assert_eq!(claims.expires_at(LIFE), later(900));
        assert_eq!(claims.left(later(899), LIFE), Duration::from_secs(1));
        assert_eq!(claims.left(later(-60), LIFE), Duration::from_secs(900));
        assert_eq!(verify(&ring, &token, later(900), LIFE), Err(Bad::Expired));
        assert_eq!(
            verify(&ring, &token, later(60), 60),
            Err(Bad::Expired),
            "a shorter life counts at once"
        );
        assert_ne!(token, sign(&ring, user, login, NOW, LIFE).unwrap());
    }

    #[test]
    fn a_token_of_a_time_to_come_is_good_when_that_is_there() {
        let (_directory, ring) = ring();
        let token = sign(&ring, UserId::fresh(), LoginId::fresh(), later(3600), LIFE).unwrap();
        assert_eq!(verify(&ring, &token, NOW, LIFE), Err(Bad::Early));
        assert_eq!(verify(&ring, &token, later(3600 - 121), LIFE), Err(Bad::Early));
        assert!(
            verify(&ring, &token, later(3600 - 120), LIFE).is_ok(),
            "clocks may differ a little"
        );
    }

    #[test]
    fn a_token_that_was_touched_is_invalid() {
        let (_directory, ring) = ring();
        let token = sign(&ring, UserId::fresh(), LoginId::fresh(), NOW, LIFE).unwrap();
        for at in 0..token.len() {
            let mut touched = token.clone().into_bytes();
            touched[at] = if touched[at] == b'A' { b'B' } else { b'A' };
            let touched = String::from_utf8(touched).unwrap();
            assert_eq!(verify(&ring, &touched, NOW, LIFE), Err(Bad::Invalid), "at {at}");
        }
        for nonsense in ["", ".", "..", "a.b.c", &token[..token.len() - 1], &"x".repeat(5_000)] {
            assert_eq!(verify(&ring, nonsense, NOW, LIFE), Err(Bad::Invalid));
        }
    }

    #[test]
    fn a_token_cannot_choose_how_it_is_checked() {
        let (_directory, ring) = ring();
        let token = sign(&ring, UserId::fresh(), LoginId::fresh(), NOW, LIFE).unwrap();
        let claims = token.split('.').nth(1).unwrap();
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"typ":"JWT","alg":"none"}"#,
            r#"{"alg":"HS256"}"#,
        ] {
            let header = URL_SAFE_NO_PAD.encode(header);
            for signature in ["", token.rsplit('.').next().unwrap()] {
                let forged = format!("{header}.{claims}.{signature}");
                assert_eq!(verify(&ring, &forged, NOW, LIFE), Err(Bad::Invalid));
            }
        }
    }

    #[test]
    fn another_servers_token_is_invalid() {
        let ((_one, ring), (_two, other)) = (ring(), ring());
        let token = sign(&other, UserId::fresh(), LoginId::fresh(), NOW, LIFE).unwrap();
        assert_eq!(verify(&ring, &token, NOW, LIFE), Err(Bad::Invalid));
    }
}
