//! Who calls: the check that every route but the open ones begins with.

use std::time::Instant;

use hyper::header::WWW_AUTHENTICATE;
use rookery_actors::id::{LoginId, UserId};
use rookery_actors::protocol::{ErrorCode, Problem};

use crate::app::App;
use crate::gateway::http::{Call, Failure};

/// Somebody whose access token was good when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user: UserId,
    pub login: LoginId,
    /// When the token expires: by the clock that no one sets, so that a socket does not end because the other one jumps.
    pub expires: Instant,
}

impl App {
    /// Who sent this request; 401 with a challenge when its token is missing or no good.
    pub fn caller(&self, call: &Call) -> Result<Caller, Failure> {
        match call.bearer() {
            Some(token) => self.accounts.authenticate(token).map_err(challenge),
            None => Err(challenge(Problem::new(
                ErrorCode::Unauthorized,
                "this needs an access token in Authorization: Bearer",
            ))),
        }
    }
}

/// A refusal with the challenge that HTTP wants beside a 401 (RFC 6750).
pub fn challenge(problem: Problem) -> Failure {
    let challenge = match problem.code {
        ErrorCode::TokenExpired => r#"Bearer realm="rookery", error="invalid_token", error_description="expired""#,
        _ => r#"Bearer realm="rookery""#,
    };
    Failure::from(problem).with_header(WWW_AUTHENTICATE, challenge)
}
