//! Port: the store of accounts and devices.
//!
//! E-mail addresses and usernames are unique among living accounts without regard to case. An account that was erased
//! leaves its id behind, which is never used again, and nothing else: every question about it is answered as if it had
//! never been.

use async_trait::async_trait;

use super::PortResult;
use crate::id::{DeviceId, FileId, LoginId, UserId};
use crate::protocol::Json;
use crate::time::Timestamp;

/// A living account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: UserId,
    pub email: String,
    pub username: String,
    pub name: String,
    /// A photo, which any signed-in user may read.
    pub photo: Option<FileId>,
    pub status_message: Option<String>,
    /// A JSON object of the application's own.
    pub preferences: Json,
    pub last_seen_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An account to be made.
#[derive(Clone)]
pub struct NewAccount {
    pub id: UserId,
    pub email: String,
    pub username: String,
    pub name: String,
    /// A PHC string.
    pub password_hash: String,
    pub created_at: Timestamp,
}

/// What became of an account to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    Made,
    /// A living account has that e-mail address; looked at before the username.
    EmailTaken,
    UsernameTaken,
}

/// By what someone who signs in names the account; the case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handle {
    Email(String),
    Username(String),
    Id(UserId),
}

/// What a password is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: UserId,
    /// A PHC string.
    pub password_hash: String,
}

/// What of an account is to change; `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountPatch {
    pub name: Option<String>,
    pub username: Option<String>,
    pub status_message: Option<Option<String>>,
    pub photo: Option<Option<FileId>>,
    pub preferences: Option<Json>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updated {
    Account(Box<Account>),
    UsernameTaken,
    /// No living account has that id.
    Unknown,
}

/// Where a search goes on: after this key of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchCursor {
    pub key: String,
    pub user: UserId,
}

/// An account that a search found, and the key it was found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub cursor: SearchCursor,
    pub account: Account,
}

/// An installation of a user, as the list of devices shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: DeviceId,
    pub login: LoginId,
    pub name: String,
    pub created_at: Timestamp,
    pub last_seen_at: Option<Timestamp>,
}

/// The store of accounts and devices. Everything answered `Ok` is durable.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// Makes an account, unless its e-mail address or username is taken.
    async fn create(&self, account: NewAccount) -> PortResult<Created>;

    /// The living accounts among these, in the order asked, each once for each time it was asked for.
    async fn accounts(&self, users: &[UserId]) -> PortResult<Vec<Account>>;

    /// Which of these are no living accounts, in the order asked.
    async fn absent(&self, users: &[UserId]) -> PortResult<Vec<UserId>>;

    /// What the password of a living account is checked against.
    async fn credentials(&self, handle: &Handle) -> PortResult<Option<Credentials>>;

    /// Replaces the password hash, if it still is `old`; says whether it was.
    async fn replace_password(&self, user: UserId, old: &str, new: &str) -> PortResult<bool>;

    /// Changes a living account.
    async fn update(&self, user: UserId, patch: AccountPatch, now: Timestamp) -> PortResult<Updated>;

    /// Erases an account and its devices: what identifies a person goes, e-mail address and username are free again. Until
    /// `forgotten` it is listed by `leaving`. False when it was erased before or never was.
    async fn erase(&self, user: UserId, now: Timestamp) -> PortResult<bool>;

    /// Erased accounts whose memberships have not all ended yet.
    async fn leaving(&self) -> PortResult<Vec<UserId>>;

    /// Says that nothing of an erased account is left elsewhere.
    async fn forgotten(&self, user: UserId) -> PortResult<()>;

    /// Accounts whose username or name, or a later word of the name, begins with `prefix` whatever the case; by the key
    /// that matched, each once over all pages. An empty prefix finds everybody.
    async fn search(&self, prefix: &str, after: Option<SearchCursor>, limit: usize) -> PortResult<Vec<Hit>>;

    /// Moves `last_seen_at` forward; an earlier time than the stored one, or an id that is gone, changes nothing.
    async fn touch(&self, users: Vec<(UserId, Timestamp)>, devices: Vec<(DeviceId, Timestamp)>) -> PortResult<()>;

    /// A user's devices, in order of their making.
    async fn devices(&self, user: UserId) -> PortResult<Vec<Device>>;

    /// Adds a device. When the user then has more than `most`, those seen longest ago go (one never seen counts as seen when
    /// it was made; never the new one); answers which.
    async fn create_device(&self, user: UserId, device: Device, most: usize) -> PortResult<Vec<DeviceId>>;

    /// Gives a device of this user to another login; false when it isn't this user's.
    async fn bind_device(&self, user: UserId, device: DeviceId, login: LoginId) -> PortResult<bool>;

    /// Deletes a device of this user; answers its login, `None` when it isn't this user's.
    async fn delete_device(&self, user: UserId, device: DeviceId) -> PortResult<Option<LoginId>>;
}
