//! The handle on accounts, and the tasks behind it.

mod devices;
mod doubt;
mod leaving;
mod passwords;
mod profile;
mod sign_in;
mod tasks;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rookery_actors::id::UserId;
use rookery_actors::ports::accounts::{Account, AccountStore};
use rookery_actors::ports::directory::{Admission, Directory, Throttled};
use rookery_actors::ports::files::FileStore;
use rookery_actors::protocol::{ErrorCode, Limits, Problem};
use tokio::task::JoinSet;

use self::leaving::Leaving;
use super::passwords::Passwords;
use super::tokens::{self, Bad};
use super::{Caller, Chats, KeyError, KeyRing, Settings, refused};

/// All that accounts are made of.
pub struct Setup {
    pub settings: Settings,
    pub limits: Arc<Limits>,
    pub store: Arc<dyn AccountStore>,
    pub files: Arc<dyn FileStore>,
    pub directory: Arc<dyn Directory>,
    /// Where the keys that sign tokens are kept.
    pub keys: PathBuf,
    pub chats: Arc<dyn Chats>,
}

/// Accounts cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Settings(String),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("start the threads that hash passwords: {0}")]
    Threads(#[from] std::io::Error),
}

/// Accounts, as routes and the gateway use them. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    settings: Settings,
    limits: Arc<Limits>,
    store: Arc<dyn AccountStore>,
    directory: Arc<dyn Directory>,
    chats: Arc<dyn Chats>,
    leaving: Leaving,
    keys: KeyRing,
    passwords: Passwords,
    /// End with the last handle.
    _tasks: JoinSet<()>,
}

impl Accounts {
    /// Starts the tasks and threads; must be called within a tokio runtime.
    pub fn start(setup: Setup) -> Result<Self, StartError> {
        setup.settings.check().map_err(StartError::Settings)?;
        if let Some(warning) = setup.settings.warning() {
            tracing::warn!("{warning}");
        }
        let keys = KeyRing::open(&setup.keys, setup.settings.access_token_life())?;
        let passwords = Passwords::start(&setup.settings)?;
        let leaving = Leaving::of(&setup);
        Ok(Self(Arc::new(Inner {
            _tasks: tasks::start(&setup, leaving.clone()),
            settings: setup.settings,
            limits: setup.limits,
            store: setup.store,
            directory: setup.directory,
            chats: setup.chats,
            leaving,
            keys,
            passwords,
        })))
    }

    /// Whom an access token stands for. Reads no database: for every request, every upgrade, every `reauth`.
    pub fn authenticate(&self, token: &str) -> Result<Caller, Problem> {
        let life = self.0.settings.access_token_seconds;
        let now = self.0.directory.now();
        let claims = tokens::verify(&self.0.keys, token, now, life).map_err(|bad| match bad {
            Bad::Invalid => Problem::new(ErrorCode::Unauthorized, "the access token is not valid"),
            Bad::Expired => Problem::new(ErrorCode::TokenExpired, "the access token has expired; refresh it"),
            Bad::Early => Problem::new(
                ErrorCode::TokenExpired,
                "the access token is of a time to come; refresh it",
            ),
        })?;
        let left = claims.left(now, life);
        let caller = Caller {
            user: claims.sub,
            login: claims.sid,
            expires: Instant::now() + left,
        };
        self.still(caller)
    }

    /// The caller, unless the login was revoked since. For what took a while after `authenticate`.
    pub fn still(&self, caller: Caller) -> Result<Caller, Problem> {
        if self.0.directory.is_revoked(caller.login) {
            return Err(Problem::new(ErrorCode::Unauthorized, "this login was ended"));
        }
        Ok(caller)
    }

    /// Reads the signing keys again (SIGHUP).
    pub fn reload_keys(&self) -> Result<(), KeyError> {
        self.0.keys.reload()
    }

    async fn throttle(&self, what: Throttled, address: IpAddr) -> Result<(), Problem> {
        let (per_minute, label) = match what {
            Throttled::SignUp => (self.0.limits.signups_per_minute, "sign_up"),
            Throttled::LogIn => (self.0.limits.logins_per_minute, "log_in"),
            Throttled::PasswordChange => (self.0.limits.logins_per_minute, "password_change"),
        };
        let directory = &self.0.directory;
        let admission = directory.admit(what, address, per_minute, directory.now()).await;
        match admission.map_err(refused)? {
            Admission::Admitted => Ok(()),
            Admission::Wait(wait) => {
                metrics::counter!("node_throttled_total", "what" => label).increment(1);
                let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
                Err(Problem::new(ErrorCode::RateLimited, "too many attempts from this address").retry_after(wait))
            }
        }
    }

    async fn account(&self, user: UserId) -> Result<Account, Problem> {
        let found = self.0.store.accounts(&[user]).await.map_err(refused)?;
        found.into_iter().next().ok_or_else(|| Problem::not_found("user"))
    }
}
