//! Why the process ends early, as one sentence and an exit status.

use std::fmt;
use std::process::ExitCode;

use crate::config::Invalid;

/// What kind of thing went wrong; the numbers are those of sysexits.h.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Status {
    /// Not healthy, or cut short.
    No = 1,
    /// A port is taken, an address is not this machine's, or a service is away.
    Unavailable = 69,
    /// Something inside failed.
    Internal = 70,
    /// The data directory cannot be used.
    DataDirectory = 73,
    /// The configuration is wrong.
    Configuration = 78,
}

/// The end of the process, for the operator.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub sentence: String,
}

impl Failure {
    pub fn new(status: Status, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { status, sentence }
    }

    pub fn internal(sentence: impl Into<String>) -> Self {
        Self::new(Status::Internal, sentence)
    }

    /// Says it on standard error and becomes the exit status.
    pub fn report(self) -> ExitCode {
        eprintln!("rookery: {self}");
        ExitCode::from(self.status as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::new(Status::Configuration, invalid.to_string())
    }
}
