//! The service over real stores in a temporary directory, with actors that only write down what they are asked.

mod people;
mod sign_in;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use rookery_actors::id::{DeviceId, LoginId};
use rookery_actors::ports::accounts::Device;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::super::{LoginRequest, PasswordRequest, ProfilePatch, SignedIn, SignupRequest};
use super::*;
use crate::adapters::sqlite::accounts::SqliteAccounts;
use crate::adapters::sqlite::directory::SqliteDirectory;
use crate::adapters::sqlite::files::SqliteFiles;
use crate::adapters::sqlite::schema;

/// More than any test makes the service ask.
const ASKED: usize = 64;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What the actors were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Close(UserId, LoginId),
    ForgetDevice(UserId, DeviceId),
    Rebind(UserId, DeviceId, LoginId),
    ForgetUser(UserId),
    Renamed(UserId),
}

/// Actors that write down what they are asked, and may be away.
struct Recorder {
    asked: Sender<Asked>,
    away: AtomicBool,
}

impl Recorder {
    fn note(&self, asked: Asked) {
        self.asked.try_send(asked).expect("no test asks for so much");
    }
}

#[async_trait]
impl Chats for Recorder {
    fn close_login(&self, user: UserId, login: LoginId) {
        self.note(Asked::Close(user, login));
    }

    fn forget_device(&self, user: UserId, device: DeviceId) {
        self.note(Asked::ForgetDevice(user, device));
    }

    fn rebind_device(&self, user: UserId, device: DeviceId, login: LoginId) {
        self.note(Asked::Rebind(user, device, login));
    }

    async fn forget_user(&self, user: UserId) -> Result<(), Problem> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Problem::unavailable("away"));
        }
        self.note(Asked::ForgetUser(user));
        Ok(())
    }

    fn renamed(&self, user: UserId) {
        self.note(Asked::Renamed(user));
    }
}

struct World {
    directory: tempfile::TempDir,
    store: Arc<SqliteAccounts>,
    accounts: Accounts,
    chats: Arc<Recorder>,
    asked: Receiver<Asked>,
}

async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    open(
        directory,
        Limits {
            signups_per_minute: 1_000,
            logins_per_minute: 1_000,
            ..Limits::default()
        },
    )
    .await
}

async fn open(directory: tempfile::TempDir, limits: Limits) -> World {
    let (asked_by, asked) = channel(ASKED);
    let chats = Arc::new(Recorder {
        asked: asked_by,
        away: AtomicBool::new(false),
    });
    let (store, accounts) = start(directory.path(), limits, chats.clone()).await;
    World {
        directory,
        store,
        accounts,
        chats,
        asked,
    }
}

async fn start(path: &Path, limits: Limits, chats: Arc<Recorder>) -> (Arc<SqliteAccounts>, Accounts) {
    let settings = Settings {
        password_memory_kib: 8,
        password_iterations: 1,
        ..Settings::default()
    };
    let db = schema::open(&path.join("store.db")).unwrap();
    let logins = SqliteDirectory::open(db.clone(), settings.access_token_life())
        .await
        .unwrap();
    let (files, store) = (SqliteFiles::new(db.clone()), Arc::new(SqliteAccounts::new(db)));
    let setup = Setup {
        settings,
        limits: Arc::new(limits),
        store: store.clone(),
        files: Arc::new(files),
        directory: logins,
        keys: path.join("keys"),
        chats,
    };
    (store, Accounts::start(setup).unwrap())
}

impl World {
    async fn signup(&self, name: &str) -> SignedIn {
        let request = SignupRequest {
            email: Some(format!("{name}@example.com")),
            name: Some(name.into()),
            password: Some("correct horse".into()),
            username: Some(name.into()),
        };
        self.accounts.signup(request, HOME).await.unwrap()
    }

    async fn login(&self, name: &str, password: &str) -> Result<SignedIn, Problem> {
        self.accounts.login(login_as(name, password), HOME).await
    }

    fn caller(&self, signed_in: &SignedIn) -> Caller {
        self.accounts.authenticate(&signed_in.tokens.access_token).unwrap()
    }

    fn refusal(&self, signed_in: &SignedIn) -> Option<ErrorCode> {
        let refused = self.accounts.authenticate(&signed_in.tokens.access_token);
        refused.err().map(|problem| problem.code)
    }
}

fn login_as(name: &str, password: &str) -> LoginRequest {
    LoginRequest {
        username: Some(name.into()),
        password: Some(password.into()),
        ..LoginRequest::default()
    }
}

fn code<T>(outcome: Result<T, Problem>) -> Option<ErrorCode> {
    outcome.err().map(|problem| problem.code)
}
