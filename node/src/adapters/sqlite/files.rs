//! The embedded store of files: two tables beside the chat store's, so that "may this user read this file" is one query over
//! grants and memberships, with nothing to keep in step.

use async_trait::async_trait;
use rookery_actors::id::{ConversationId, FileId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::blobs::UploadId;
use rookery_actors::ports::files::{File, FileState, FileStore, PhotoOf};
use rookery_actors::time::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db::Db;

/// The tables of files, to be run by the store's migrations.
pub const SCHEMA: &str = "
CREATE TABLE files (
    id BLOB PRIMARY KEY,
    owner BLOB NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB,
    state INTEGER NOT NULL,
    upload TEXT,
    photo INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX files_unready_by_age ON files (changed_at) WHERE state <> 1;
CREATE INDEX files_pending_by_owner ON files (owner) WHERE state = 0;
CREATE TABLE file_grants (
    file BLOB NOT NULL,
    conversation BLOB NOT NULL,
    PRIMARY KEY (file, conversation)
) WITHOUT ROWID;
";

/// What finds the files of an owner, a migration of its own.
pub const BY_OWNER: &str = "CREATE INDEX files_by_owner ON files (owner);";

/// States as they are stored; the partial indexes above name them too.
const PENDING: i64 = 0;
const READY: i64 = 1;
const DELETED: i64 = 2;

/// Whose photo a file is, as it is stored. What was marked before these were told apart may be a group's.
const NO_PHOTO: i64 = 0;
const GROUP_PHOTO: i64 = 1;
const USER_PHOTO: i64 = 2;

const COLUMNS: &str = "id, owner, name, media_type, size, sha256, state, upload, photo, created_at";

/// Ready, and the reader (`?2`) is the uploader, or shares a conversation it was sent to, or it is a photo.
const READABLE: &str = "
SELECT id, owner, name, media_type, size, sha256, state, upload, photo, created_at FROM files f
WHERE f.id = ?1 AND f.state = 1 AND (
    f.owner = ?2 OR f.photo <> 0 OR EXISTS (
        SELECT 1 FROM file_grants g JOIN conversations c ON c.id = g.conversation AND c.deleted = 0
        JOIN memberships m ON m.conversation = c.no AND m.user = ?2
        WHERE g.file = f.id))";

/// [`FileStore`] on the store's database.
#[derive(Clone)]
pub struct SqliteFiles {
    db: Db,
}

impl SqliteFiles {
    /// Over a database that has [`SCHEMA`] and the chat store's `memberships`.
    pub fn new(db: Db) -> Self {
        Self { db }
    }
}

#[async_trait]
impl FileStore for SqliteFiles {
    async fn create(&self, file: File, most_pending: usize) -> PortResult<bool> {
        self.db
            .write(move |store| {
                let pending: i64 = store
                    .prepare_cached("SELECT count(*) FROM files WHERE owner = ?1 AND state = 0")?
                    .query_row([file.owner.as_bytes()], |row| row.get(0))?;
                if pending >= most_pending as i64 {
                    return Ok(false);
                }
                insert(store, &file)?;
                Ok(true)
            })
            .await
    }

    async fn file(&self, id: FileId) -> PortResult<Option<File>> {
        self.db
            .read(move |store| {
                store
                    .prepare_cached(&format!("SELECT {COLUMNS} FROM files WHERE id = ?1"))?
                    .query_row([id.as_bytes()], file)
                    .optional()
            })
            .await
    }

    async fn finish(&self, id: FileId) -> PortResult<bool> {
        self.db
            .write(move |store| {
                let done = store
                    .prepare_cached("UPDATE files SET state = ?2, upload = NULL WHERE id = ?1 AND state IN (0, 1)")?
                    .execute(params![id.as_bytes(), READY])?;
                Ok(done == 1)
            })
            .await
    }

    async fn delete(&self, id: FileId, owner: UserId, now: Timestamp) -> PortResult<bool> {
        self.db
            .write(move |store| {
                let done = store
                    .prepare_cached(
                        "UPDATE files SET state = ?3, changed_at = ?4 WHERE id = ?1 AND owner = ?2 AND state <> ?3",
                    )?
                    .execute(params![id.as_bytes(), owner.as_bytes(), DELETED, now.0])?;
                if done == 1 {
                    revoke(store, id)?;
                }
                Ok(done == 1)
            })
            .await
    }

    async fn mark_photo(&self, id: FileId, owner: UserId, of: PhotoOf) -> PortResult<bool> {
        self.db
            .write(move |store| {
                let done = store
                    .prepare_cached(
                        "UPDATE files SET photo = CASE photo WHEN ?4 THEN photo ELSE ?5 END
                         WHERE id = ?1 AND owner = ?2 AND state = ?3",
                    )?
                    .execute(params![
                        id.as_bytes(),
                        owner.as_bytes(),
                        READY,
                        GROUP_PHOTO,
                        stored_photo(Some(of))
                    ])?;
                Ok(done == 1)
            })
            .await
    }

    async fn abandon(&self, owner: UserId, now: Timestamp) -> PortResult<()> {
        self.db
            .write(move |store| {
                store
                    .prepare_cached(
                        "UPDATE files SET state = ?2, changed_at = ?3 WHERE owner = ?1 AND state <> ?2 AND photo <> ?4
                         AND NOT EXISTS (SELECT 1 FROM file_grants g WHERE g.file = files.id)",
                    )?
                    .execute(params![owner.as_bytes(), DELETED, now.0, GROUP_PHOTO])?;
                store
                    .prepare_cached("UPDATE files SET photo = ?2 WHERE owner = ?1 AND photo = ?3")?
                    .execute(params![owner.as_bytes(), NO_PHOTO, USER_PHOTO])?;
                Ok(())
            })
            .await
    }

    async fn readable(&self, user: UserId, files: &[FileId]) -> PortResult<Vec<File>> {
        let files = each_once(files);
        self.db.read(move |store| readable(store, user, &files)).await
    }

    async fn grant(&self, user: UserId, conversation: ConversationId, files: &[FileId]) -> PortResult<bool> {
        let files = each_once(files);
        self.db
            .write(move |store| {
                if readable(store, user, &files)?.len() < files.len() {
                    return Ok(false);
                }
                let mut insert =
                    store.prepare_cached("INSERT OR IGNORE INTO file_grants (file, conversation) VALUES (?1, ?2)")?;
                for file in &files {
                    insert.execute(params![file.as_bytes(), conversation.as_bytes()])?;
                }
                Ok(true)
            })
            .await
    }

    async fn stale(&self, before: Timestamp, limit: usize) -> PortResult<Vec<File>> {
        self.db
            .read(move |store| {
                store
                    .prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM files WHERE state <> 1 AND changed_at < ?1 ORDER BY changed_at LIMIT ?2"
                    ))?
                    .query_map(params![before.0, limit as i64], file)?
                    .collect()
            })
            .await
    }

    async fn forget(&self, files: &[FileId]) -> PortResult<()> {
        let files = files.to_vec();
        self.db
            .write(move |store| {
                for id in files {
                    let gone = store
                        .prepare_cached("DELETE FROM files WHERE id = ?1 AND state <> ?2")?
                        .execute(params![id.as_bytes(), READY])?;
                    if gone == 1 {
                        revoke(store, id)?;
                    }
                }
                Ok(())
            })
            .await
    }
}

fn insert(store: &Connection, file: &File) -> rusqlite::Result<()> {
    store
        .prepare_cached(&format!(
            "INSERT INTO files ({COLUMNS}, changed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)"
        ))?
        .execute(params![
            file.id.as_bytes(),
            file.owner.as_bytes(),
            file.name,
            file.media_type,
            file.size as i64,
            file.sha256,
            stored(file.state),
            file.upload.as_ref().map(|upload| upload.0.as_str()),
            stored_photo(file.photo),
            file.created_at.0,
        ])?;
    Ok(())
}

fn revoke(store: &Connection, file: FileId) -> rusqlite::Result<()> {
    store
        .prepare_cached("DELETE FROM file_grants WHERE file = ?1")?
        .execute([file.as_bytes()])?;
    Ok(())
}

fn readable(store: &Connection, user: UserId, files: &[FileId]) -> rusqlite::Result<Vec<File>> {
    let mut query = store.prepare_cached(READABLE)?;
    let mut found = Vec::with_capacity(files.len());
    for id in files {
        found.extend(
            query
                .query_row(params![id.as_bytes(), user.as_bytes()], file)
                .optional()?,
        );
    }
    Ok(found)
}

/// The ids without repeats, in their order. Lists are short: they are bounded by the attachments of a message.
fn each_once(files: &[FileId]) -> Vec<FileId> {
    let mut once = Vec::with_capacity(files.len());
    for id in files {
        if !once.contains(id) {
            once.push(*id);
        }
    }
    once
}

fn stored(state: FileState) -> i64 {
    match state {
        FileState::Pending => PENDING,
        FileState::Ready => READY,
        FileState::Deleted => DELETED,
    }
}

fn state(number: i64) -> rusqlite::Result<FileState> {
    match number {
        PENDING => Ok(FileState::Pending),
        READY => Ok(FileState::Ready),
        DELETED => Ok(FileState::Deleted),
        _ => Err(rusqlite::Error::IntegralValueOutOfRange(6, number)),
    }
}

fn stored_photo(photo: Option<PhotoOf>) -> i64 {
    match photo {
        None => NO_PHOTO,
        Some(PhotoOf::Group) => GROUP_PHOTO,
        Some(PhotoOf::User) => USER_PHOTO,
    }
}

fn photo(number: i64) -> rusqlite::Result<Option<PhotoOf>> {
    match number {
        NO_PHOTO => Ok(None),
        GROUP_PHOTO => Ok(Some(PhotoOf::Group)),
        USER_PHOTO => Ok(Some(PhotoOf::User)),
        _ => Err(rusqlite::Error::IntegralValueOutOfRange(8, number)),
    }
}

fn file(row: &Row<'_>) -> rusqlite::Result<File> {
    Ok(File {
        id: FileId::from_slice(&id(row, 0)?).ok_or_else(|| malformed(0))?,
        owner: UserId::from_slice(&id(row, 1)?).ok_or_else(|| malformed(1))?,
        name: row.get(2)?,
        media_type: row.get(3)?,
        size: row.get::<_, i64>(4)? as u64,
        sha256: row.get(5)?,
        state: state(row.get(6)?)?,
        upload: row.get::<_, Option<String>>(7)?.map(UploadId),
        photo: photo(row.get(8)?)?,
        created_at: Timestamp(row.get(9)?),
    })
}

fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<[u8; 16]> {
    row.get(column)
}

fn malformed(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "id".into(), Type::Blob)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use rookery_actors::id::{ConversationId, UserId};
    use rookery_actors::ports::chats::{ChatStore, Member, Projection, Step};
    use rookery_actors::protocol::view::Role;
    use rookery_actors::testkit::files::{Rosters, file_store_contract};
    use rookery_actors::time::Timestamp;
    use rookery_cluster::id::ShardId;

    use super::SqliteFiles;
    use crate::adapters::sqlite::{SqliteChats, schema};

    struct Memberships {
        chats: SqliteChats,
        changes: AtomicU64,
    }

    impl Memberships {
        async fn change(&self, conversation: ConversationId, step: Step) {
            let projection = Projection {
                conversation,
                shard: ShardId(0),
                applied: self.changes.fetch_add(1, Ordering::Relaxed),
                head: 0,
                active_at: Timestamp(0),
                steps: vec![step],
            };
            self.chats.project(vec![projection]).await.expect("the roster changes");
        }
    }

    #[async_trait]
    impl Rosters for Memberships {
        async fn join(&self, conversation: ConversationId, user: UserId) {
            let member = Member {
                user,
                role: Role::Member,
                joined_at: Timestamp(0),
                joined_seq: 0,
                admin_since: None,
            };
            self.change(conversation, Step::Joined(vec![member])).await;
        }

        async fn leave(&self, conversation: ConversationId, user: UserId) {
            self.change(conversation, Step::Left(vec![user])).await;
        }
    }

    #[tokio::test]
    async fn the_store_of_files_keeps_its_contract() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let db = schema::open(&dir.path().join("store.db")).expect("the database opens");
        let rosters = Memberships {
            chats: SqliteChats::new(db.clone()),
            changes: AtomicU64::new(1),
        };
        file_store_contract(&SqliteFiles::new(db), &rosters).await;
    }
}
