//! A store that any release wrote is opened and read by this one, and this one writes it as it is recorded: as the SQL that
//! makes it.

use std::sync::Arc;

use rookery_actors::ports::chats::{
    ChatStore as _, Entry, Profile, Projection, RecentChange, RecentId, Snapshot, Step,
};
use rookery_cluster::id::ShardId;
use rookery_cluster::testkit::recorded::{self, Sample};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::{Db, SqliteChats, schema};
use crate::adapters::tests::{at, conversation, entries, fixtures, members, profiles};

/// What a conversation is when it is read.
type Kept = (Snapshot, Vec<Entry>);

const TABLES: &str = "'conversations', 'entries', 'client_ids', 'memberships', 'former_members', 'devices'";

fn tables() -> impl Iterator<Item = &'static str> {
    TABLES.split(", ").map(|table| table.trim_matches('\''))
}

fn kept(profile: Profile) -> Kept {
    let recent = |entry: &Entry| match entry {
        Entry::Message(message) => Some(RecentId {
            from: message.from,
            id: message.id.clone(),
            seq: message.seq,
            at: message.at,
        }),
        Entry::Update(_) => None,
    };
    let snapshot = Snapshot {
        profile,
        head: 9,
        applied: 70_000,
        active_at: at(9),
        members: members(),
        recent: entries().iter().filter_map(recent).collect(),
        changes: entries().iter().filter_map(RecentChange::of).collect(),
        deleted: false,
    };
    (snapshot, entries())
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn open(directory: &TempDir) -> Db {
    schema::open(&directory.path().join("store.db")).unwrap()
}

/// The store that this release makes of a conversation.
fn write((snapshot, entries): &Kept) -> Vec<u8> {
    let directory = TempDir::new().unwrap();
    let db = open(&directory);
    let mut steps = vec![
        Step::Profile(snapshot.profile.clone()),
        Step::Joined(snapshot.members.clone()),
    ];
    steps.extend(entries.iter().map(|entry| Step::Entry(Arc::new(entry.clone()))));
    let projection = Projection {
        conversation: conversation(),
        shard: ShardId(0),
        applied: snapshot.applied,
        head: snapshot.head,
        active_at: snapshot.active_at,
        steps,
    };
    runtime().block_on(async {
        SqliteChats::new(db.clone()).project(vec![projection]).await.unwrap();
        db.read(dump).await.unwrap().into_bytes()
    })
}

/// The SQL that makes the tables of conversations as they are.
fn dump(sql: &Connection) -> rusqlite::Result<String> {
    let texts = |query: &str| -> rusqlite::Result<Vec<String>> {
        let mut select = sql.prepare(query)?;
        let rows = select.query_map([], |row| row.get(0))?;
        rows.collect()
    };
    let master =
        format!("SELECT sql || ';' FROM sqlite_master WHERE tbl_name IN ({TABLES}) AND sql IS NOT NULL ORDER BY name");
    let mut all = texts(&master)?;
    // Tables before the indexes on them.
    all.sort_by_key(|sql| sql.starts_with("CREATE INDEX"));
    for table in tables() {
        let columns = texts(&format!(
            "SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}')"
        ))?;
        let values = columns.join(" || ',' || ");
        let rows = format!("SELECT 'INSERT INTO {table} VALUES(' || {values} || ');' FROM {table} ORDER BY 1");
        all.extend(texts(&rows)?);
    }
    let version: u32 = sql.pragma_query_value(None, "user_version", |row| row.get(0))?;
    all.push(format!("PRAGMA user_version = {version};"));
    Ok(all.join("\n"))
}

/// What this release reads of a store.
fn read(bytes: &[u8]) -> Result<Kept, String> {
    let directory = TempDir::new().unwrap();
    let sql = std::str::from_utf8(bytes).unwrap();
    let (_, version) = sql.trim_end_matches(';').rsplit_once(" = ").unwrap();
    let mut file = Connection::open(directory.path().join("store.db")).unwrap();
    // What is not of conversations is as that release made it, and empty.
    schema::migrate_to(&mut file, version.parse().unwrap()).unwrap();
    for table in tables() {
        file.execute_batch(&format!("DROP TABLE {table}")).unwrap();
    }
    file.execute_batch(sql).map_err(|error| error.to_string())?;
    drop(file);
    let chats = SqliteChats::new(open(&directory));
    runtime().block_on(async {
        let snapshot = chats.conversation(conversation()).await;
        let snapshot = snapshot.map_err(|error| error.to_string())?.ok_or("no conversation")?;
        let entries = chats.entries(conversation(), 0, u64::MAX, 100).await;
        Ok((snapshot, entries.map_err(|error| error.to_string())?))
    })
}

#[test]
fn recorded_stores_of_any_release_are_read() {
    let samples: Vec<Sample<Kept>> = profiles()
        .into_iter()
        .map(|(name, profile)| (name, kept(profile)))
        .collect();
    recorded::hold(fixtures("sqlite-chats"), &samples, write, read);
}
