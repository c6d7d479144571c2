//! The admin token: given by the operator, or made at first start and kept in the data directory.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

use crate::config::Process;
use crate::data_dir::replace_file;

/// The token's file in the data directory.
const FILE: &str = "admin-token";
/// Random bytes of a token that is made; twice as many characters.
const RANDOM_BYTES: usize = 32;
/// Shortest token taken from a file.
const SHORTEST: usize = 16;

/// Why there is no admin token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot read the admin token from {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("cannot keep the admin token in {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("the admin token in {} is shorter than {SHORTEST} bytes", path.display())]
    Short { path: PathBuf },
}

/// What `/admin` wants to be told. Never logged or printed.
pub struct AdminToken(String);

impl AdminToken {
    /// The configured one, else the one in the configured file, else the one in the data directory, made if missing.
    pub fn load(settings: &Process, data_dir: &Path) -> Result<Self, TokenError> {
        let path = data_dir.join(FILE);
        let given = !settings.admin_token.is_empty() || !settings.admin_token_file.as_os_str().is_empty();
        if given || path.exists() {
            Self::existing(settings, data_dir)
        } else {
            Self::make(&path)
        }
    }

    /// As [`Self::load`], for those who ask a server that has its token already.
    pub fn existing(settings: &Process, data_dir: &Path) -> Result<Self, TokenError> {
        if !settings.admin_token.is_empty() {
            return Ok(Self(settings.admin_token.clone()));
        }
        let configured = &settings.admin_token_file;
        if !configured.as_os_str().is_empty() {
            return Self::read(configured);
        }
        Self::read(&data_dir.join(FILE))
    }

    /// The line of a request's head that shows it.
    pub fn header(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.0)
    }

    /// Whether this is the token; takes as long for a wrong one as for the right one.
    pub fn is(&self, token: &str) -> bool {
        self.0.as_bytes().ct_eq(token.as_bytes()).into()
    }

    fn read(path: &Path) -> Result<Self, TokenError> {
        let text = std::fs::read_to_string(path).map_err(|error| TokenError::Read {
            path: path.into(),
            error,
        })?;
        let token = text.trim();
        if token.len() < SHORTEST {
            return Err(TokenError::Short { path: path.into() });
        }
        Ok(Self(token.to_owned()))
    }

    fn make(path: &Path) -> Result<Self, TokenError> {
        let failed = |error| TokenError::Write {
            path: path.into(),
            error,
        };
        let mut bytes = [0; RANDOM_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| failed(io::Error::other("no random bytes")))?;
        let mut token = String::with_capacity(2 * RANDOM_BYTES);
        for byte in bytes {
            write!(token, "{byte:02x}").ok();
        }
        replace_file(path, format!("{token}\n").as_bytes()).map_err(failed)?;
        Ok(Self(token))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let made = AdminToken::load(&Process::default(), dir.path()).expect("made");
        let again = AdminToken::load(&Process::default(), dir.path()).expect("read");
        assert!(again.is(&made.0));
        assert!(!again.is("x") && !again.is(""));
        let mode = std::fs::metadata(dir.path().join(FILE))
            .expect("kept")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("t");
        std::fs::write(&file, "short\n").expect("written");
        let settings = Process {
            admin_token_file: file,
            ..Process::default()
        };
        let error = AdminToken::load(&settings, dir.path()).err().expect("refused");
        assert!(error.to_string().contains("shorter"), "{error}");
    }
}
