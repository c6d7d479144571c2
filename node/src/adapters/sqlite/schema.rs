//! The schema of `store.db`: one ordered list of migrations, to which each adapter's module contributes its tables.
//!
//! `PRAGMA user_version` counts the migrations a file has seen. Each runs once, in a transaction of its own together with
//! the new count, so that a crash in between leaves the file at one version or the next. What is released is never edited:
//! a change of a table is a new entry at the end.

use std::path::Path;

use rookery_actors::ports::PortResult;
use rusqlite::{Connection, TransactionBehavior};

use super::db::Db;

/// Migration by migration, the SQL of each module.
const MIGRATIONS: &[&[&str]] = &[
    &[
        super::chats::SCHEMA,
        super::accounts::SCHEMA,
        super::directory::SCHEMA,
        super::files::SCHEMA,
    ],
    &[super::jobs::SCHEMA],
    &[super::files::BY_OWNER],
];

/// Opens the store's file, brings it to the newest schema and starts its threads.
pub fn open(path: &Path) -> PortResult<Db> {
    Db::open(path, migrate)
}

/// Brings a file to the newest schema.
pub fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    run(connection, MIGRATIONS)
}

/// Brings a file to an earlier schema.
#[cfg(test)]
pub fn migrate_to(connection: &mut Connection, version: usize) -> rusqlite::Result<()> {
    run(connection, &MIGRATIONS[..version])
}

/// Runs the migrations a file has not seen.
fn run(connection: &mut Connection, migrations: &[&[&str]]) -> rusqlite::Result<()> {
    let (seen, newest) = (version(connection)?, migrations.len());
    if seen > newest {
        let newer =
            format!("the file has schema version {seen} and this program knows up to {newest}; run the newer one");
        return Err(rusqlite::Error::ToSqlConversionFailure(newer.into()));
    }
    for (done, parts) in migrations.iter().enumerate().skip(seen) {
        step(connection, parts, done + 1)?;
    }
    Ok(())
}

fn step(connection: &mut Connection, parts: &[&str], reached: usize) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for part in parts {
        transaction.execute_batch(part)?;
    }
    transaction.pragma_update(None, "user_version", reached as i64)?;
    transaction.commit()
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.pragma_query_value(None, "user_version", |row| {
        row.get::<_, u32>(0).map(|version| version as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[&str] = &["CREATE TABLE a(x);", "CREATE TABLE b(x);"];
    const SECOND: &[&str] = &["ALTER TABLE a ADD COLUMN y;"];

    #[test]
    fn each_migration_runs_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, &[FIRST]).unwrap();
        run(&mut connection, &[FIRST, SECOND]).unwrap();
        run(&mut connection, &[FIRST, SECOND]).unwrap();
        connection.execute("INSERT INTO a(x, y) VALUES (1, 2)", []).unwrap();
        assert_eq!(version(&connection).unwrap(), 2);
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken: &[&str] = &["CREATE TABLE c(x);", "no sql"];
        assert!(run(&mut connection, &[FIRST, broken]).is_err());
        assert_eq!(version(&connection).unwrap(), 1);
        assert!(connection.prepare("SELECT x FROM c").is_err());
    }

    #[test]
    fn a_newer_file_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, &[FIRST, SECOND]).unwrap();
        let error = run(&mut connection, &[FIRST]).unwrap_err();
        assert!(error.to_string().contains("schema version 2"), "{error}");
    }
}
