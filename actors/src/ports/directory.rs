//! Port: the directory. Which logins live, which were revoked a moment ago, and how often an address knocks.
//!
//! A login is a family of refresh tokens. Each refresh token carries two secrets: one that the whole family shares and one
//! of its own. The directory keeps only their digests, and only those of the token that is valid now. So a token that was
//! spent is recognised (the family's secret is right, its own is not) however many there were, in constant space, while
//! somebody who merely learns a login's id can neither refresh it nor end it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::PortResult;
use crate::id::{LoginId, UserId};
use crate::time::Timestamp;

/// How far the clocks of two that share a directory may be apart: a token may be so much younger than who checks it thinks
/// possible, and a revocation is remembered for so much longer than tokens live.
pub const LEEWAY: Duration = Duration::from_secs(120);

/// SHA-256 of a secret.
pub type Digest = [u8; 32];

/// A login to be made, with its first refresh token.
#[derive(Clone)]
pub struct NewLogin {
    pub login: LoginId,
    pub user: UserId,
    /// Digest of the secret that all refresh tokens of the login share.
    pub family: Digest,
    /// Digest of the first refresh token's own secret.
    pub secret: Digest,
    pub created_at: Timestamp,
    /// When the first refresh token expires.
    pub expires_at: Timestamp,
}

/// A refresh token that was presented, and what is to take its place.
#[derive(Clone)]
pub struct Rotation {
    pub login: LoginId,
    /// Digests of what was presented.
    pub family: Digest,
    pub secret: Digest,
    /// Digest of the next token's own secret.
    pub next: Digest,
    pub now: Timestamp,
    /// When the next refresh token expires.
    pub expires_at: Timestamp,
}

/// What became of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The next token is valid, the presented one is spent.
    Rotated { user: UserId },
    /// The presented token was spent before: whoever holds the family's tokens, one too many does. The login is revoked.
    Reused { user: UserId },
    /// No living login has that token.
    Unknown,
    /// The token is the valid one and came too late; it stays as it is.
    Expired,
}

/// A login that was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub user: UserId,
    pub login: LoginId,
}

/// What an address is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Throttled {
    SignUp,
    LogIn,
    /// Changes of a password, which check the old one.
    PasswordChange,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Admitted,
    /// Not before so much time has passed.
    Wait(Duration),
}

/// Who stands behind an address: an IPv4 address, however it is written, or an IPv6 network of 64 bits.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// The directory of logins.
///
/// * Of two rotations of one token, at whatever nodes and instants, at most one is `Rotated`.
/// * What is answered `Ok` is durable. A revocation is in `is_revoked` before it is answered, and stays there, across
///   restarts, until every access token that the login may have been given has expired. Where nodes share a directory, it is
///   in every node's within a second, as long as that node reaches the directory.
/// * Revocations are announced to subscribers after they are in `is_revoked`. A subscriber that lags asks `revoked`.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// What time it is for whatever concerns logins: tokens, revocations, attempts. Where nodes share a directory it is the same
    /// at all of them, whatever the clocks of their machines show; the directory of one node goes by its machine's.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn create(&self, login: NewLogin) -> PortResult<()>;

    /// Spends a refresh token for the next one, in one step.
    async fn rotate(&self, rotation: Rotation) -> PortResult<Rotated>;

    /// Revokes one login of a user; false when it is none that lives.
    async fn revoke(&self, user: UserId, login: LoginId, now: Timestamp) -> PortResult<bool>;

    /// Revokes every login of a user but `except`; answers which.
    async fn revoke_all(&self, user: UserId, except: Option<LoginId>, now: Timestamp) -> PortResult<Vec<LoginId>>;

    /// Whether a login was revoked. In memory, for each request and each upgrade.
    fn is_revoked(&self, login: LoginId) -> bool;

    /// Every login that `is_revoked` remembers.
    fn revoked(&self) -> Vec<Revocation>;

    /// Revocations from now on.
    fn subscribe(&self) -> broadcast::Receiver<Revocation>;

    /// Counts one attempt of an address (which stands for its [`network`]) against `per_minute`, all of which may come at
    /// once; refused, it says when to try again. An attempt that is refused is not counted.
    async fn admit(&self, what: Throttled, address: IpAddr, per_minute: u32, now: Timestamp) -> PortResult<Admission>;

    /// Forgets what no longer matters: expired logins, old revocations. What is heard of such a one afterwards is forgotten by
    /// the next purge.
    async fn purge(&self, now: Timestamp) -> PortResult<()>;
}
