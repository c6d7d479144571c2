//! The delayed jobs of a single node on SQLite.

use async_trait::async_trait;
use rookery_actors::id::ClaimId;
use rookery_actors::ports::PortResult;
use rookery_actors::ports::jobs::{Claimed, Jobs};
use rookery_actors::time::Timestamp;
use rusqlite::Params;

use super::db::Db;

/// The table of jobs. `claim` is that of who was given the job last.
pub const SCHEMA: &str = "
    CREATE TABLE jobs (
        name  TEXT PRIMARY KEY,
        due   INTEGER NOT NULL,
        claim BLOB
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX jobs_by_due ON jobs (due, name);
";

/// The jobs over one database file.
pub struct SqliteJobs {
    db: Db,
}

impl SqliteJobs {
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Runs one statement; says whether it changed anything.
    async fn change(&self, sql: &'static str, values: impl Params + Send + 'static) -> PortResult<bool> {
        let changed = self
            .db
            .write(move |store| store.prepare_cached(sql)?.execute(values))
            .await?;
        Ok(changed > 0)
    }
}

#[async_trait]
impl Jobs for SqliteJobs {
    async fn schedule(&self, name: &str, due: Timestamp) -> PortResult<()> {
        let sql = "INSERT INTO jobs (name, due) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET due = excluded.due, claim = NULL";
        self.change(sql, (name.to_owned(), due.0)).await.map(drop)
    }

    async fn propose(&self, name: &str, due: Timestamp) -> PortResult<bool> {
        let sql = "INSERT OR IGNORE INTO jobs (name, due) VALUES (?1, ?2)";
        self.change(sql, (name.to_owned(), due.0)).await
    }

    async fn cancel(&self, name: &str) -> PortResult<bool> {
        self.change("DELETE FROM jobs WHERE name = ?1", (name.to_owned(),))
            .await
    }

    async fn claim(&self, now: Timestamp, until: Timestamp, limit: usize) -> PortResult<Vec<Claimed>> {
        let claim = ClaimId::fresh();
        let names = self.db.write(move |store| {
            let sql = "SELECT name FROM jobs WHERE due <= ?1 ORDER BY due, name LIMIT ?2";
            let mut select = store.prepare_cached(sql)?;
            let names = select.query_map((now.0, limit as i64), |row| row.get(0))?;
            let names = names.collect::<rusqlite::Result<Vec<String>>>()?;
            let mut update = store.prepare_cached("UPDATE jobs SET due = ?2, claim = ?3 WHERE name = ?1")?;
            for name in &names {
                update.execute((name, until.0, claim.as_bytes()))?;
            }
            Ok(names)
        });
        let claimed = |name| Claimed { name, claim };
        Ok(names.await?.into_iter().map(claimed).collect())
    }

    async fn finish(&self, job: &Claimed, again: Option<Timestamp>) -> PortResult<bool> {
        let (name, claim) = (job.name.clone(), *job.claim.as_bytes());
        match again {
            Some(due) => {
                let sql = "UPDATE jobs SET due = ?3, claim = NULL WHERE name = ?1 AND claim = ?2";
                self.change(sql, (name, claim, due.0)).await
            }
            None => {
                let sql = "DELETE FROM jobs WHERE name = ?1 AND claim = ?2";
                self.change(sql, (name, claim)).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use rookery_actors::testkit::jobs::suite;

    use super::super::schema;
    use super::SqliteJobs;

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite_keeps_the_contract_of_delayed_jobs() {
        let directory = tempfile::tempdir().unwrap();
        let nth = Cell::new(0);
        let open = async || {
            let db = schema::open(&directory.path().join(format!("{}.db", nth.get()))).unwrap();
            Arc::new(SqliteJobs::new(db)) as _
        };
        let fresh = async || {
            nth.set(nth.get() + 1);
            open().await
        };
        suite(fresh, async |_closed| open().await).await;
    }
}
