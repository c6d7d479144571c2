//! Accounts and devices on SQLite.

use async_trait::async_trait;
use rookery_actors::id::{DeviceId, FileId, LoginId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::accounts::{
    Account, AccountPatch, AccountStore, Created, Credentials, Device, Handle, Hit, NewAccount, SearchCursor, Updated,
};
use rookery_actors::protocol::Json;
use rookery_actors::time::Timestamp;
use rusqlite::types::{FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db::Db;

mod devices;
mod search;

/// The tables of accounts. `devices` stands with the cursors, in the schema of conversations.
pub const SCHEMA: &str = "
    CREATE TABLE users (
        id             BLOB PRIMARY KEY,
        email          TEXT,
        email_key      TEXT UNIQUE,
        username       TEXT,
        username_key   TEXT UNIQUE,
        name           TEXT NOT NULL,
        photo          BLOB,
        status_message TEXT,
        preferences    TEXT NOT NULL,
        password_hash  TEXT,
        created_at     INTEGER NOT NULL,
        updated_at     INTEGER NOT NULL,
        last_seen_at   INTEGER,
        deleted_at     INTEGER,
        leaving        INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX users_leaving ON users (id) WHERE leaving = 1;
    CREATE TABLE user_keys (
        key  TEXT NOT NULL,
        user BLOB NOT NULL,
        PRIMARY KEY (key, user)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX user_keys_by_user ON user_keys (user, key);
";

const COLUMNS: &str = "u.id, u.email, u.username, u.name, u.photo, u.status_message, u.preferences, u.last_seen_at, u.created_at, u.updated_at";

/// The accounts of one database file.
#[derive(Clone)]
pub struct SqliteAccounts {
    db: Db,
}

impl SqliteAccounts {
    /// The file's schema must hold [`SCHEMA`] and the table of devices.
    pub fn new(db: Db) -> Self {
        Self { db }
    }
}

#[async_trait]
impl AccountStore for SqliteAccounts {
    async fn create(&self, account: NewAccount) -> PortResult<Created> {
        self.db.write(move |connection| create(connection, &account)).await
    }

    async fn accounts(&self, users: &[UserId]) -> PortResult<Vec<Account>> {
        let users = users.to_vec();
        self.db.read(move |connection| accounts(connection, &users)).await
    }

    async fn absent(&self, users: &[UserId]) -> PortResult<Vec<UserId>> {
        let users = users.to_vec();
        self.db.read(move |connection| absent(connection, &users)).await
    }

    async fn credentials(&self, handle: &Handle) -> PortResult<Option<Credentials>> {
        let handle = handle.clone();
        self.db.read(move |connection| credentials(connection, &handle)).await
    }

    async fn replace_password(&self, user: UserId, old: &str, new: &str) -> PortResult<bool> {
        let (old, new) = (old.to_owned(), new.to_owned());
        let sql = "UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2";
        self.db
            .write(move |connection| {
                connection
                    .prepare_cached(sql)?
                    .execute(params![user.as_bytes(), old, new])
                    .map(|rows| rows == 1)
            })
            .await
    }

    async fn update(&self, user: UserId, patch: AccountPatch, now: Timestamp) -> PortResult<Updated> {
        self.db
            .write(move |connection| update(connection, user, patch, now))
            .await
    }

    async fn erase(&self, user: UserId, now: Timestamp) -> PortResult<bool> {
        self.db.write(move |connection| erase(connection, user, now)).await
    }

    async fn leaving(&self) -> PortResult<Vec<UserId>> {
        let sql = "SELECT id FROM users WHERE leaving = 1 ORDER BY id";
        self.db
            .read(move |connection| {
                connection
                    .prepare_cached(sql)?
                    .query_map([], |row| user(row, 0))?
                    .collect()
            })
            .await
    }

    async fn forgotten(&self, user: UserId) -> PortResult<()> {
        let sql = "UPDATE users SET leaving = 0 WHERE id = ?1";
        self.db
            .write(move |connection| connection.prepare_cached(sql)?.execute([user.as_bytes()]).map(drop))
            .await
    }

    async fn search(&self, prefix: &str, after: Option<SearchCursor>, limit: usize) -> PortResult<Vec<Hit>> {
        let prefix = prefix.to_lowercase();
        self.db
            .read(move |connection| search::find(connection, &prefix, after, limit))
            .await
    }

    async fn touch(&self, users: Vec<(UserId, Timestamp)>, devices: Vec<(DeviceId, Timestamp)>) -> PortResult<()> {
        self.db
            .write(move |connection| {
                let sql = "UPDATE users SET last_seen_at = max(coalesce(last_seen_at, ?2), ?2)
                           WHERE id = ?1 AND deleted_at IS NULL";
                let mut statement = connection.prepare_cached(sql)?;
                for (user, at) in users {
                    statement.execute(params![user.as_bytes(), at.0])?;
                }
                devices::touch(connection, &devices)
            })
            .await
    }

    async fn devices(&self, user: UserId) -> PortResult<Vec<Device>> {
        self.db.read(move |connection| devices::of(connection, user)).await
    }

    async fn create_device(&self, user: UserId, device: Device, most: usize) -> PortResult<Vec<DeviceId>> {
        self.db
            .write(move |connection| devices::create(connection, user, &device, most))
            .await
    }

    async fn bind_device(&self, user: UserId, device: DeviceId, login: LoginId) -> PortResult<bool> {
        self.db
            .write(move |connection| devices::bind(connection, user, device, login))
            .await
    }

    async fn delete_device(&self, user: UserId, device: DeviceId) -> PortResult<Option<LoginId>> {
        self.db
            .write(move |connection| devices::delete(connection, user, device))
            .await
    }
}

fn create(connection: &Connection, account: &NewAccount) -> rusqlite::Result<Created> {
    let taken = "SELECT EXISTS (SELECT 1 FROM users WHERE email_key = ?1)";
    let email_key = account.email.to_lowercase();
    if connection
        .prepare_cached(taken)?
        .query_row([&email_key], |row| row.get(0))?
    {
        return Ok(Created::EmailTaken);
    }
    let username_key = account.username.to_lowercase();
    if username_taken(connection, &username_key, account.id)? {
        return Ok(Created::UsernameTaken);
    }
    let sql = "INSERT INTO users (id, email, email_key, username, username_key, name, preferences, password_hash,
                                  created_at, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, '{}', ?7, ?8, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        account.id.as_bytes(),
        account.email,
        email_key,
        account.username,
        username_key,
        account.name,
        account.password_hash,
        account.created_at.0,
    ])?;
    search::index(connection, account.id, &account.username, &account.name)?;
    Ok(Created::Made)
}

fn username_taken(connection: &Connection, key: &str, by_other_than: UserId) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE username_key = ?1 AND id <> ?2)";
    connection
        .prepare_cached(sql)?
        .query_row(params![key, by_other_than.as_bytes()], |row| row.get(0))
}

fn accounts(connection: &Connection, users: &[UserId]) -> rusqlite::Result<Vec<Account>> {
    let sql = format!("SELECT {COLUMNS} FROM users u WHERE u.id = ?1 AND u.deleted_at IS NULL");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = Vec::with_capacity(users.len());
    for user in users {
        found.extend(statement.query_row([user.as_bytes()], account).optional()?);
    }
    Ok(found)
}

fn absent(connection: &Connection, users: &[UserId]) -> rusqlite::Result<Vec<UserId>> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1 AND deleted_at IS NULL)";
    let mut statement = connection.prepare_cached(sql)?;
    let mut absent = Vec::new();
    for user in users {
        let lives: bool = statement.query_row([user.as_bytes()], |row| row.get(0))?;
        if !lives {
            absent.push(*user);
        }
    }
    Ok(absent)
}

fn credentials(connection: &Connection, handle: &Handle) -> rusqlite::Result<Option<Credentials>> {
    let found = |row: &Row<'_>| {
        Ok(Credentials {
            user: user(row, 0)?,
            password_hash: row.get(1)?,
        })
    };
    let select = |column: &str, value: &dyn rusqlite::ToSql| {
        let sql = format!("SELECT id, password_hash FROM users WHERE {column} = ?1 AND deleted_at IS NULL");
        connection.prepare_cached(&sql)?.query_row([value], found).optional()
    };
    match handle {
        Handle::Email(email) => select("email_key", &email.to_lowercase()),
        Handle::Username(username) => select("username_key", &username.to_lowercase()),
        Handle::Id(user) => select("id", user.as_bytes()),
    }
}

fn update(connection: &Connection, user: UserId, patch: AccountPatch, now: Timestamp) -> rusqlite::Result<Updated> {
    let Some(mut account) = accounts(connection, &[user])?.pop() else {
        return Ok(Updated::Unknown);
    };
    if let Some(username) = &patch.username
        && username_taken(connection, &username.to_lowercase(), user)?
    {
        return Ok(Updated::UsernameTaken);
    }
    let renamed = patch.username.is_some() || patch.name.is_some();
    apply(&mut account, patch, now);
    let sql = "UPDATE users SET username = ?2, username_key = ?3, name = ?4, photo = ?5, status_message = ?6,
                                preferences = ?7, updated_at = ?8 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        user.as_bytes(),
        account.username,
        account.username.to_lowercase(),
        account.name,
        account.photo.map(|photo| *photo.as_bytes()),
        account.status_message,
        account.preferences.as_str(),
        now.0,
    ])?;
    if renamed {
        search::index(connection, user, &account.username, &account.name)?;
    }
    Ok(Updated::Account(Box::new(account)))
}

fn apply(account: &mut Account, patch: AccountPatch, now: Timestamp) {
    if let Some(name) = patch.name {
        account.name = name;
    }
    if let Some(username) = patch.username {
        account.username = username;
    }
    if let Some(status_message) = patch.status_message {
        account.status_message = status_message;
    }
    if let Some(photo) = patch.photo {
        account.photo = photo;
    }
    if let Some(preferences) = patch.preferences {
        account.preferences = preferences;
    }
    account.updated_at = now;
}

fn erase(connection: &Connection, user: UserId, now: Timestamp) -> rusqlite::Result<bool> {
    let sql = "UPDATE users SET email = NULL, email_key = NULL, username = NULL, username_key = NULL, name = '',
                                photo = NULL, status_message = NULL, preferences = '{}', password_hash = NULL,
                                last_seen_at = NULL, updated_at = ?2, deleted_at = ?2, leaving = 1
               WHERE id = ?1 AND deleted_at IS NULL";
    let erased = connection
        .prepare_cached(sql)?
        .execute(params![user.as_bytes(), now.0])?
        == 1;
    if erased {
        search::unindex(connection, user)?;
        devices::delete_all(connection, user)?;
    }
    Ok(erased)
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: user(row, 0)?,
        email: row.get(1)?,
        username: row.get(2)?,
        name: row.get(3)?,
        photo: optional_id(row.get_ref(4)?)?.map(FileId),
        status_message: row.get(5)?,
        preferences: Json::from_stored(row.get::<_, String>(6)?),
        last_seen_at: row.get::<_, Option<i64>>(7)?.map(Timestamp),
        created_at: Timestamp(row.get(8)?),
        updated_at: Timestamp(row.get(9)?),
    })
}

/// A user's id in a column.
pub(super) fn user(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    id(row, column).map(UserId)
}

/// An id in a column.
pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<uuid::Uuid> {
    row.get::<_, [u8; 16]>(column).map(uuid::Uuid::from_bytes)
}

fn optional_id(value: ValueRef<'_>) -> FromSqlResult<Option<uuid::Uuid>> {
    value
        .as_blob_or_null()?
        .map(|bytes| uuid::Uuid::from_slice(bytes).map_err(FromSqlError::other))
        .transpose()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::schema;
    use super::SqliteAccounts;

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite_keeps_the_contract_of_accounts() {
        let directory = tempfile::tempdir().unwrap();
        let nth = std::cell::Cell::new(0);
        rookery_actors::testkit::accounts::suite(async || {
            nth.set(nth.get() + 1);
            let db = schema::open(&directory.path().join(format!("{}.db", nth.get()))).unwrap();
            Arc::new(SqliteAccounts::new(db)) as _
        })
        .await;
    }
}
