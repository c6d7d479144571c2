//! What the actors need of the world: traits, each with a real and an embedded adapter in `node`, and one contract suite
//! (`testkit`) that every adapter passes.

pub mod accounts;
pub mod blobs;
pub mod chats;
pub mod directory;
pub mod files;
pub mod jobs;
pub mod log;

use std::fmt;

/// Why a port could not do what was asked. Says whether trying again makes sense; only the edges act on it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PortError {
    /// The service is away, busy or full: nothing of the request was done, try again later.
    #[error("{0}")]
    Unavailable(String),
    /// The outcome is unknown: try again with the same id.
    #[error("{0}")]
    Unknown(String),
    /// The data or the service is broken in a way that trying again does not mend.
    #[error("{0}")]
    Broken(String),
}

impl PortError {
    /// Logs what failed, where that is handled. That a service is away is for whoever operates it to know, and passes; an alarm is
    /// only what does not.
    pub fn log(&self, what: impl fmt::Display) {
        match self {
            Self::Unavailable(_) | Self::Unknown(_) => tracing::warn!(error = %self, "{what}"),
            Self::Broken(_) => tracing::error!(error = %self, "{what}"),
        }
    }
}

impl From<PortError> for crate::protocol::Problem {
    fn from(error: PortError) -> Self {
        use crate::protocol::{ErrorCode, Problem};
        match error {
            PortError::Unavailable(_) => Problem::unavailable("a service behind this server is away"),
            PortError::Unknown(_) => Problem::new(ErrorCode::Timeout, "the outcome is unknown; retry with the same id"),
            PortError::Broken(_) => Problem::new(ErrorCode::Internal, "internal error"),
        }
    }
}

/// What a port answers.
pub type PortResult<T> = Result<T, PortError>;
