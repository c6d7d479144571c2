//! What can go wrong with a call, told apart by what may be done about it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Codes with which a server says that it does not do such a thing at the moment.
const NOT_NOW: &[&str] = &["OOM", "MISCONF", "NOREPLICAS", "BUSY", "UNKILLABLE"];

/// Codes with which it says that user or password are wrong, missing, or not enough.
const UNKNOWN_OR_UNWANTED: &[&str] = &["WRONGPASS", "NOAUTH", "NOPERM"];

/// Why a call came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// No primary was found, or it did not let this client in: nothing was done.
    #[error("it cannot be reached: {0}")]
    Unreachable(RedisError),
    /// The server does nothing of the kind at the moment: nothing was done.
    #[error("it refuses for now: {0}")]
    Refused(RedisError),
    /// It was asked and there was no answer: it may have been done.
    #[error("it did not answer: {0}")]
    Unanswered(RedisError),
    /// The question or the answer makes no sense; asking again will not help.
    #[error("it answered with an error: {0}")]
    Broken(RedisError),
}

impl Fault {
    pub(super) fn of_an_answer(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(
                ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain,
            ) => Self::Refused(error),
            ErrorKind::Extension if error.code().is_some_and(|code| NOT_NOW.contains(&code)) => Self::Refused(error),
            ErrorKind::Io => Self::Unanswered(error),
            _ => Self::Broken(error),
        }
    }

    /// The client's own error.
    pub fn error(&self) -> &RedisError {
        let (Self::Unreachable(error) | Self::Refused(error) | Self::Unanswered(error) | Self::Broken(error)) = self;
        error
    }

    /// Whether the server does not know who asks, or does not let him: no waiting helps.
    pub fn is_of_credentials(&self) -> bool {
        is_of_credentials(self.error())
    }

    /// Whether another connection might do better: this one broke, is silent, or leads to a server that is no primary.
    pub(super) fn is_of_the_connection(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Unanswered(_) => true,
            Self::Refused(error) => matches!(error.kind(), ErrorKind::Server(_)),
            Self::Broken(error) => matches!(error.kind(), ErrorKind::Parse),
        }
    }
}

pub(super) fn is_of_credentials(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || error.code().is_some_and(|code| UNKNOWN_OR_UNWANTED.contains(&code))
}

impl From<redis::ParsingError> for Fault {
    fn from(error: redis::ParsingError) -> Self {
        Self::Broken(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_apart_by_what_may_be_done() {
        let io = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let read_only = RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), "read only"));
        let full = redis::make_extension_error("OOM".into(), None);
        let wrong = redis::make_extension_error("WRONGTYPE".into(), None);
        for code in ["NOAUTH", "WRONGPASS"] {
            let unknown = Fault::of_an_answer(redis::make_extension_error(code.into(), None));
            assert!(unknown.is_of_credentials());
        }
        assert!(matches!(Fault::of_an_answer(io), Fault::Unanswered(_)));
        let demoted = Fault::of_an_answer(read_only);
        assert!(matches!(demoted, Fault::Refused(_)) && demoted.is_of_the_connection());
        let full = Fault::of_an_answer(full);
        assert!(matches!(full, Fault::Refused(_)) && !full.is_of_the_connection());
        let wrong = Fault::of_an_answer(wrong);
        assert!(matches!(wrong, Fault::Broken(_)) && !wrong.is_of_the_connection());
        assert!(!wrong.is_of_credentials());
    }
}
