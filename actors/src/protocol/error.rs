//! Errors of the contract: a closed list of codes, each with its HTTP status, carried by RFC 9457 problems over HTTP and by
//! `error` frames over the WebSocket.

use serde::{Deserialize, Serialize};

/// What programs branch on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    BadRequest,
    InvalidField,
    Unauthorized,
    BadCredentials,
    TokenExpired,
    RefreshReused,
    Forbidden,
    NotMember,
    Blocked,
    NotFound,
    EmailTaken,
    UsernameTaken,
    Conflict,
    TooLarge,
    Unsupported,
    RateLimited,
    Internal,
    Unavailable,
    Timeout,
}

impl ErrorCode {
    /// The HTTP status it usually goes with. `unsupported` is 405, 415 or 426 as the case may be, a wrong old password 403.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized | Self::BadCredentials | Self::TokenExpired | Self::RefreshReused => 401,
            Self::Forbidden | Self::NotMember | Self::Blocked => 403,
            Self::NotFound => 404,
            Self::EmailTaken | Self::UsernameTaken | Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Unsupported => 415,
            Self::InvalidField => 422,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The code as it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::InvalidField => "invalid_field",
            Self::Unauthorized => "unauthorized",
            Self::BadCredentials => "bad_credentials",
            Self::TokenExpired => "token_expired",
            Self::RefreshReused => "refresh_reused",
            Self::Forbidden => "forbidden",
            Self::NotMember => "not_member",
            Self::Blocked => "blocked",
            Self::NotFound => "not_found",
            Self::EmailTaken => "email_taken",
            Self::UsernameTaken => "username_taken",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
        }
    }
}

/// One field of a request that is wrong, and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

/// A refusal, wherever it is made; the edges turn it into a problem document or an `error` frame.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct Problem {
    pub code: ErrorCode,
    /// What was attempted on what, and what to do; for people.
    pub detail: String,
    pub errors: Vec<FieldError>,
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_ms: None,
        }
    }

    /// `invalid_field` for one field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        let detail = format!("{field}: {message}");
        Self {
            errors: vec![FieldError { field, message }],
            ..Self::new(ErrorCode::InvalidField, detail)
        }
    }

    /// `not_found`, which is also what an outsider is told of a thing that exists.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("no such {what}"))
    }

    /// A service behind us is away: retry with the same id.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, detail).retry_after(1000)
    }

    /// Whether the same may be asked for again, and succeed.
    pub fn is_for_now(&self) -> bool {
        matches!(
            self.code,
            ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Timeout
        )
    }

    /// `too_large` for one field of a request.
    pub fn too_large(field: &str, limit: usize) -> Self {
        Self::new(ErrorCode::TooLarge, format!("{field}: more than {limit}"))
    }

    /// Says when to try again, in milliseconds.
    pub fn retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}
