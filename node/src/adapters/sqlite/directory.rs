//! The directory of a single node: logins on SQLite; revocations and the budgets of addresses in this process.
//!
//! A revocation is written first, then remembered in memory, then announced, then answered. What memory holds is read back
//! at start from the rows of revoked logins, which stay for as long as an access token of theirs may be valid.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use rookery_actors::id::{LoginId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::directory::{Directory, NewLogin, Revocation, Rotated, Rotation, Throttled};
use rookery_actors::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use subtle::ConstantTimeEq;
use tokio::sync::broadcast;

use super::accounts::{id, user};
use super::db::Db;
use budgets::Budgets;

mod budgets;

/// The table of logins. `revoked_at` marks one that ended and whose access tokens may still be valid.
pub const SCHEMA: &str = "
    CREATE TABLE logins (
        id         BLOB PRIMARY KEY,
        user       BLOB NOT NULL,
        family     BLOB NOT NULL,
        secret     BLOB NOT NULL,
        generation INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT;
    CREATE INDEX logins_by_user ON logins (user) WHERE revoked_at IS NULL;
    CREATE INDEX logins_by_expiry ON logins (expires_at);
    CREATE INDEX logins_revoked ON logins (revoked_at) WHERE revoked_at IS NOT NULL;
";

/// Announcements a subscriber may be behind before it must ask for all.
const ANNOUNCEMENTS: usize = 1024;
/// A revoked login is remembered for longer than its access tokens live: by a token that was being signed at that moment,
/// and by a small step of the clock.
const MARGIN: Duration = Duration::from_secs(120);

/// The directory over one database file.
pub struct SqliteDirectory {
    db: Db,
    /// How long a revocation matters.
    memory: Duration,
    revoked: RwLock<HashMap<LoginId, Remembered>>,
    announcements: broadcast::Sender<Revocation>,
    budgets: Mutex<Budgets>,
}

#[derive(Clone, Copy)]
struct Remembered {
    user: UserId,
    at: Timestamp,
}

impl SqliteDirectory {
    /// Opens the directory and reads which logins were revoked not long ago. `access_token_life` is the longest that an
    /// access token in circulation may live.
    pub async fn open(db: Db, access_token_life: Duration) -> PortResult<Arc<Self>> {
        let rows = db.read(revoked).await?;
        Ok(Arc::new(Self {
            db,
            memory: access_token_life + MARGIN,
            revoked: RwLock::new(rows.into_iter().collect()),
            announcements: broadcast::channel(ANNOUNCEMENTS).0,
            budgets: Mutex::default(),
        }))
    }

    fn remember(&self, user: UserId, logins: &[LoginId], at: Timestamp) {
        let mut revoked = self.revoked.write();
        revoked.extend(logins.iter().map(|login| (*login, Remembered { user, at })));
        drop(revoked);
        for login in logins {
            // Nobody listens in a tool that opens the store without sockets.
            self.announcements.send(Revocation { user, login: *login }).ok();
        }
    }
}

#[async_trait]
impl Directory for SqliteDirectory {
    async fn create(&self, login: NewLogin) -> PortResult<()> {
        self.db.write(move |connection| create(connection, &login)).await
    }

    async fn rotate(&self, rotation: Rotation) -> PortResult<Rotated> {
        let (login, now) = (rotation.login, rotation.now);
        let outcome = self.db.write(move |connection| rotate(connection, &rotation)).await?;
        if let Rotated::Reused { user } = outcome {
            self.remember(user, &[login], now);
        }
        Ok(outcome)
    }

    async fn revoke(&self, user: UserId, login: LoginId, now: Timestamp) -> PortResult<bool> {
        let sql = "UPDATE logins SET revoked_at = ?3 WHERE id = ?1 AND user = ?2 AND revoked_at IS NULL";
        let revoked = self
            .db
            .write(move |connection| {
                connection
                    .prepare_cached(sql)?
                    .execute(params![login.as_bytes(), user.as_bytes(), now.0])
                    .map(|rows| rows == 1)
            })
            .await?;
        if revoked {
            self.remember(user, &[login], now);
        }
        Ok(revoked)
    }

    async fn revoke_all(&self, user: UserId, except: Option<LoginId>, now: Timestamp) -> PortResult<Vec<LoginId>> {
        let sql =
            "UPDATE logins SET revoked_at = ?3 WHERE user = ?1 AND id IS NOT ?2 AND revoked_at IS NULL RETURNING id";
        let logins: Vec<LoginId> = self
            .db
            .write(move |connection| {
                let except = except.map(|login| *login.as_bytes());
                connection
                    .prepare_cached(sql)?
                    .query_map(params![user.as_bytes(), except, now.0], |row| id(row, 0).map(LoginId))?
                    .collect()
            })
            .await?;
        self.remember(user, &logins, now);
        Ok(logins)
    }

    fn is_revoked(&self, login: LoginId) -> bool {
        self.revoked.read().contains_key(&login)
    }

    fn revoked(&self) -> Vec<Revocation> {
        let revoked = self.revoked.read();
        let one = |(login, remembered): (&LoginId, &Remembered)| Revocation {
            user: remembered.user,
            login: *login,
        };
        revoked.iter().map(one).collect()
    }

    fn subscribe(&self) -> broadcast::Receiver<Revocation> {
        self.announcements.subscribe()
    }

    async fn admit(&self, what: Throttled, address: IpAddr, per_minute: u32, now: Timestamp) -> Result<(), Duration> {
        self.budgets.lock().admit(what, address, per_minute, now)
    }

    async fn purge(&self, now: Timestamp) -> PortResult<()> {
        let horizon = Timestamp(now.0 - i64::try_from(self.memory.as_millis()).unwrap_or(i64::MAX));
        self.db
            .write(move |connection| {
                let sql = "DELETE FROM logins WHERE revoked_at < ?1";
                connection.prepare_cached(sql)?.execute([horizon.0])?;
                let sql = "DELETE FROM logins WHERE expires_at < ?1 AND revoked_at IS NULL";
                connection.prepare_cached(sql)?.execute([horizon.0]).map(drop)
            })
            .await?;
        self.revoked.write().retain(|_, remembered| remembered.at >= horizon);
        Ok(())
    }
}

fn create(connection: &Connection, login: &NewLogin) -> rusqlite::Result<()> {
    let sql = "INSERT INTO logins (id, user, family, secret, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let values = params![
        login.login.as_bytes(),
        login.user.as_bytes(),
        login.family,
        login.secret,
        login.created_at.0,
        login.expires_at.0,
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// A login as a rotation finds it.
struct Stored {
    user: UserId,
    family: [u8; 32],
    secret: [u8; 32],
    expires_at: Timestamp,
    revoked: bool,
}

/// Runs on the one writer, so that of two rotations of a token the second finds it spent.
fn rotate(connection: &Connection, rotation: &Rotation) -> rusqlite::Result<Rotated> {
    let sql = "SELECT user, family, secret, expires_at, revoked_at IS NOT NULL FROM logins WHERE id = ?1";
    let stored = connection
        .prepare_cached(sql)?
        .query_row([rotation.login.as_bytes()], stored)
        .optional()?;
    let Some(stored) = stored.filter(|stored| bool::from(stored.family.ct_eq(&rotation.family))) else {
        return Ok(Rotated::Unknown);
    };
    let valid = bool::from(stored.secret.ct_eq(&rotation.secret));
    match (valid, stored.revoked) {
        (true, true) => Ok(Rotated::Unknown),
        (true, false) if stored.expires_at <= rotation.now => Ok(Rotated::Expired),
        (true, false) => advance(connection, rotation).map(|()| Rotated::Rotated { user: stored.user }),
        (false, _) => end(connection, rotation).map(|()| Rotated::Reused { user: stored.user }),
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        user: user(row, 0)?,
        family: row.get(1)?,
        secret: row.get(2)?,
        expires_at: Timestamp(row.get(3)?),
        revoked: row.get(4)?,
    })
}

fn advance(connection: &Connection, rotation: &Rotation) -> rusqlite::Result<()> {
    let sql = "UPDATE logins SET secret = ?2, expires_at = ?3, generation = generation + 1 WHERE id = ?1";
    let values = params![rotation.login.as_bytes(), rotation.next, rotation.expires_at.0];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

fn end(connection: &Connection, rotation: &Rotation) -> rusqlite::Result<()> {
    let sql = "UPDATE logins SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
    let values = params![rotation.login.as_bytes(), rotation.now.0];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

fn revoked(connection: &Connection) -> rusqlite::Result<Vec<(LoginId, Remembered)>> {
    let sql = "SELECT id, user, revoked_at FROM logins WHERE revoked_at IS NOT NULL";
    connection
        .prepare_cached(sql)?
        .query_map([], |row| {
            let (login, user, at) = (id(row, 0).map(LoginId)?, user(row, 1)?, Timestamp(row.get(2)?));
            Ok((login, Remembered { user, at }))
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rookery_actors::testkit::directory::{ACCESS_TOKEN_LIFE, suite};

    use super::super::schema;
    use super::SqliteDirectory;

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite_keeps_the_contract_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let nth = Cell::new(0);
        let open = async || {
            let db = schema::open(&directory.path().join(format!("{}.db", nth.get()))).unwrap();
            SqliteDirectory::open(db, ACCESS_TOKEN_LIFE).await.unwrap() as _
        };
        let fresh = async || {
            nth.set(nth.get() + 1);
            open().await
        };
        suite(fresh, async |_closed, _now| open().await).await;
    }
}
