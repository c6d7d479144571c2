//! The directory of a single node: logins on SQLite; revocations and the budgets of addresses in this process.
//!
//! A revocation is written first, then remembered in memory, then announced, then answered. What memory holds is read back
//! at start from the rows of revoked logins, which stay for as long as an access token of theirs may be valid.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rookery_actors::id::{LoginId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::directory::{Admission, Directory, NewLogin, Revocation, Rotated, Rotation, Throttled};
use rookery_actors::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use subtle::ConstantTimeEq;
use tokio::sync::broadcast;

use super::super::revocations::{Revocations, Revoked};
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

/// The directory over one database file.
pub struct SqliteDirectory {
    db: Db,
    revocations: Revocations,
    budgets: Mutex<Budgets>,
}

impl SqliteDirectory {
    /// Opens the directory and reads which logins were revoked not long ago. `access_token_life` is the longest that an
    /// access token in circulation may live.
    pub async fn open(db: Db, access_token_life: Duration) -> PortResult<Arc<Self>> {
        let revocations = Revocations::new(access_token_life);
        revocations.remember(db.read(revoked).await?);
        Ok(Arc::new(Self {
            db,
            revocations,
            budgets: Mutex::default(),
        }))
    }

    fn remember(&self, user: UserId, logins: &[LoginId], at: Timestamp) {
        let revoked = |login: &LoginId| Revoked {
            user,
            login: *login,
            at,
        };
        self.revocations.remember(logins.iter().map(revoked));
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
        self.revocations.contains(login)
    }

    fn revoked(&self) -> Vec<Revocation> {
        self.revocations.all().into_iter().map(Into::into).collect()
    }

    fn subscribe(&self) -> broadcast::Receiver<Revocation> {
        self.revocations.subscribe()
    }

    async fn admit(&self, what: Throttled, address: IpAddr, per_minute: u32, now: Timestamp) -> PortResult<Admission> {
        Ok(self.budgets.lock().admit(what, address, per_minute, now))
    }

    async fn purge(&self, now: Timestamp) -> PortResult<()> {
        let horizon = self.revocations.horizon(now);
        self.db
            .write(move |connection| {
                let sql = "DELETE FROM logins WHERE revoked_at < ?1";
                connection.prepare_cached(sql)?.execute([horizon.0])?;
                let sql = "DELETE FROM logins WHERE expires_at < ?1 AND revoked_at IS NULL";
                connection.prepare_cached(sql)?.execute([horizon.0]).map(drop)
            })
            .await?;
        self.revocations.forget_before(horizon);
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

fn revoked(connection: &Connection) -> rusqlite::Result<Vec<Revoked>> {
    let sql = "SELECT id, user, revoked_at FROM logins WHERE revoked_at IS NOT NULL";
    connection
        .prepare_cached(sql)?
        .query_map([], |row| {
            Ok(Revoked {
                login: id(row, 0).map(LoginId)?,
                user: user(row, 1)?,
                at: Timestamp(row.get(2)?),
            })
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
