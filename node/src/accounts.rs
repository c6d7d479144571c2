//! Accounts: who somebody is, and whether the one who says so is.
//!
//! [`Accounts`] is the handle that routes and the gateway use. Behind it stand two ports (the store of accounts, the
//! directory of logins), the passwords' own threads, and the ring of keys that sign access tokens.
//!
//! What always holds:
//! * An access token is checked without a read of any database: its signature, its expiry, and that its login isn't among
//!   those revoked. So a revoked login is refused by the very next request, and its sockets are closed by a task that hears
//!   every revocation, wherever it came from.
//! * A password is hashed on threads of its own, a bounded number at a time; what finds no room is refused, so that neither
//!   sign-ups nor guesses can starve the sockets.
//! * Nothing here logs, returns or stores a password or a token. Of refresh tokens only digests are stored.
//! * An account that is erased is gone at that instant, with its logins; ending its memberships follows, across restarts if
//!   need be.
//!
//! Deliberately absent: what a user may see or do in a conversation. That is the actors' to say.

mod caller;
mod chats;
mod passwords;
mod requests;
mod service;
mod settings;
mod tokens;
mod validate;
mod view;

pub use caller::{Caller, challenge};
pub use chats::Chats;
pub use requests::{LoginRequest, PasswordRequest, ProfilePatch, SignupRequest};
pub use service::{Accounts, Setup, StartError};
pub use settings::Settings;
pub use tokens::{KeyError, KeyRing};
pub use view::{Me, SignedIn, TokenPair};

use rookery_actors::ports::PortError;
use rookery_actors::protocol::{ErrorCode, Problem};

/// What a caller is told of a port that failed; what it was goes to the log, once.
fn refused(error: PortError) -> Problem {
    error.log("the store of accounts failed");
    error.into()
}

/// Something that cannot happen did.
fn internal(what: &str, error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "{what}");
    Problem::new(ErrorCode::Internal, "internal error")
}

/// Random bytes for secrets.
fn random<const N: usize>() -> [u8; N] {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes
}
