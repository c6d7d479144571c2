//! The store of files, in the collections `files` and `grants`.
//!
//! **What decides.** How many pending files an owner may have is decided by a unique index: a pending file takes one of its
//! owner's slots, a number below the limit, in the same document, and gives it back in the write that makes it ready or
//! deletes it. Two that want the same slot see each other there, and the slower looks for another.
//!
//! A grant is one document for all its files, so it is there or not. It says nothing of a file that is deleted, whichever came
//! first: whoever asks needs the file to be ready, and there is no way back from deleted.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use mongodb::bson::{Binary, DateTime, Document, Uuid, doc};
use rookery_actors::id::{ConversationId, FileId, UserId};
use rookery_actors::ports::blobs::UploadId;
use rookery_actors::ports::files::{File, FileState, FileStore, PhotoOf};
use rookery_actors::ports::{PortError, PortResult};
use rookery_actors::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::bulk::Update;
use super::code::{AsId as _, bytes, date, ids, key, number, timestamp};
use super::open::Index;
use super::query::Query;
use super::{Mongo, chats};

const FILES: &str = "files";
const GRANTS: &str = "grants";

/// Attempts to take a slot, each of which another of the same owner was quicker with.
const ROUNDS: usize = 256;

/// Files of one owner that are looked through together.
const ABANDONED_AT_ONCE: usize = 100;

const PENDING: i32 = 0;
const READY: i32 = 1;
const DELETED: i32 = 2;

pub(super) fn indexes() -> Vec<Index> {
    vec![
        Index::unique(FILES, "slot"),
        Index::sparse(FILES, "unready_since"),
        Index::sparse(FILES, "owner"),
        Index::sparse(GRANTS, "files"),
    ]
}

#[derive(Serialize, Deserialize)]
struct FileDoc {
    #[serde(rename = "_id")]
    id: Uuid,
    owner: Uuid,
    name: String,
    media_type: String,
    size: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Binary>,
    state: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    photo: bool,
    /// Of a photo: no group's. What was marked before these were told apart may be a group's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    portrait: bool,
    created_at: DateTime,
    /// Of one that is not ready: when it was made or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unready_since: Option<DateTime>,
    /// Of a pending one: the owner and which of the owner's places it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slot: Option<Binary>,
}

impl FileDoc {
    fn of(file: &File, slot: Option<Binary>) -> Self {
        Self {
            id: file.id.id(),
            owner: file.owner.id(),
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: number(file.size),
            sha256: file.sha256.map(|digest| bytes(digest.to_vec())),
            state: match file.state {
                FileState::Pending => PENDING,
                FileState::Ready => READY,
                FileState::Deleted => DELETED,
            },
            upload: file.upload.as_ref().map(|upload| upload.0.clone()),
            photo: file.photo.is_some(),
            portrait: file.photo == Some(PhotoOf::User),
            created_at: date(file.created_at),
            unready_since: (file.state != FileState::Ready).then(|| date(file.created_at)),
            slot,
        }
    }

    fn file(self) -> PortResult<File> {
        Ok(File {
            id: FileId::from_id(self.id),
            owner: UserId::from_id(self.owner),
            name: self.name,
            media_type: self.media_type,
            size: self.size as u64,
            sha256: self.sha256.and_then(|digest| digest.bytes.try_into().ok()),
            state: match self.state {
                PENDING => FileState::Pending,
                READY => FileState::Ready,
                DELETED => FileState::Deleted,
                other => {
                    return Err(PortError::Broken(format!(
                        "MongoDB: a file has the unknown state {other}"
                    )));
                }
            },
            upload: self.upload.map(UploadId),
            photo: match (self.photo, self.portrait) {
                (false, _) => None,
                (true, false) => Some(PhotoOf::Group),
                (true, true) => Some(PhotoOf::User),
            },
            created_at: timestamp(self.created_at),
        })
    }
}

/// Files that the members of a conversation may read.
#[derive(Serialize, Deserialize)]
struct GrantDoc {
    #[serde(rename = "_id")]
    id: Binary,
    conversation: Uuid,
    files: Vec<Uuid>,
}

impl GrantDoc {
    /// The same grant has the same id, so that it is made once.
    fn of(conversation: ConversationId, files: &[FileId]) -> Self {
        let mut sorted: Vec<_> = files.iter().map(|file| *file.as_bytes()).collect();
        sorted.sort_unstable();
        let digest = uuid::Uuid::new_v5(&conversation.0, &sorted.concat());
        Self {
            id: key(conversation.as_bytes(), digest.as_bytes()),
            conversation: conversation.id(),
            files: ids(files),
        }
    }
}

/// The files of a database.
#[derive(Clone)]
pub struct MongoFiles {
    mongo: Mongo,
}

impl MongoFiles {
    pub fn new(mongo: Mongo) -> Self {
        Self { mongo }
    }

    /// The slots that pending files of an owner take.
    async fn taken(&self, owner: UserId) -> PortResult<HashSet<u32>> {
        #[derive(Deserialize)]
        struct SlotDoc {
            slot: Binary,
        }
        let range = doc! { "$gte": slot(owner, 0), "$lte": slot(owner, u32::MAX) };
        let query = Query::of(doc! { "slot": range }).fields(doc! { "slot": 1 });
        let found: Vec<SlotDoc> = self.mongo.find(FILES, query).await?;
        let number = |found: &SlotDoc| found.slot.bytes.last_chunk().map(|number| u32::from_be_bytes(*number));
        Ok(found.iter().filter_map(number).collect())
    }

    async fn stored(&self, id: FileId) -> PortResult<Option<File>> {
        let found: Option<FileDoc> = self
            .mongo
            .find_one(FILES, doc! { "_id": id.id() }, Document::new())
            .await?;
        found.map(FileDoc::file).transpose()
    }

    /// The conversations that files were sent to, by file.
    async fn granted(&self, files: &[Uuid]) -> PortResult<Vec<(Uuid, ConversationId)>> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let query = Query::of(doc! { "files": { "$in": files } });
        let found: Vec<GrantDoc> = self.mongo.find(GRANTS, query).await?;
        let each = found.into_iter().flat_map(|grant| {
            let conversation = ConversationId::from_id(grant.conversation);
            grant.files.into_iter().map(move |file| (file, conversation))
        });
        Ok(each.collect())
    }

    /// Deletes those of a departed owner's files that nobody else may read; the others are no user's photo.
    async fn leave(&self, found: Vec<FileDoc>, now: Timestamp) -> PortResult<()> {
        let groups = |file: &FileDoc| file.photo && !file.portrait;
        let files: Vec<_> = found.iter().filter(|file| !groups(file)).map(|file| file.id).collect();
        let granted: HashSet<_> = self.granted(&files).await?.into_iter().map(|(file, _)| file).collect();
        let (kept, gone): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| granted.contains(file));
        let unmark = doc! { "$unset": { "photo": "", "portrait": "" } };
        let updates = [
            Update::many(doc! { "_id": { "$in": gone } }, deletion(now)),
            Update::many(doc! { "_id": { "$in": kept } }, unmark),
        ];
        self.mongo.update(FILES, &updates).await.map(drop)
    }

    /// Ends every grant of a file.
    async fn revoke(&self, files: &[Uuid]) -> PortResult<()> {
        let pull = Update::many(
            doc! { "files": { "$in": files } },
            doc! { "$pull": { "files": { "$in": files } } },
        );
        let named = self
            .mongo
            .find::<GrantDoc>(GRANTS, Query::of(doc! { "files": { "$in": files } }))
            .await?;
        if named.is_empty() {
            return Ok(());
        }
        self.mongo.update(GRANTS, &[pull]).await?;
        let emptied: Vec<_> = named.into_iter().map(|grant| grant.id).collect();
        let nothing: [Uuid; 0] = [];
        self.mongo
            .delete(GRANTS, doc! { "_id": { "$in": emptied }, "files": nothing.as_slice() })
            .await
            .map(drop)
    }
}

/// What makes a file a deleted one.
fn deletion(now: Timestamp) -> Document {
    doc! { "$set": { "state": DELETED, "unready_since": date(now) }, "$unset": { "slot": "" } }
}

fn slot(owner: UserId, number: u32) -> Binary {
    key(owner.as_bytes(), &number.to_be_bytes())
}

#[async_trait]
impl FileStore for MongoFiles {
    async fn create(&self, file: File, most_pending: usize) -> PortResult<bool> {
        for _ in 0..ROUNDS {
            let taken = self.taken(file.owner).await?;
            if taken.len() >= most_pending {
                // An earlier attempt of this very file may have taken the last place, and its answer been lost.
                return Ok(self.stored(file.id).await?.is_some());
            }
            let free = (0..)
                .find(|number| !taken.contains(number))
                .map(|number| slot(file.owner, number));
            if self.mongo.insert_one(FILES, &FileDoc::of(&file, free)).await? {
                return Ok(true);
            }
            if self.stored(file.id).await?.is_some() {
                return Ok(true);
            }
        }
        Err(PortError::Unavailable(
            "MongoDB: too many files of one owner were made at once".into(),
        ))
    }

    async fn file(&self, id: FileId) -> PortResult<Option<File>> {
        self.stored(id).await
    }

    async fn finish(&self, id: FileId) -> PortResult<bool> {
        let filter = doc! { "_id": id.id(), "state": { "$in": [PENDING, READY] } };
        let change = doc! {
            "$set": { "state": READY },
            "$unset": { "upload": "", "slot": "", "unready_since": "" },
        };
        self.mongo.update_one(FILES, filter, change).await
    }

    async fn delete(&self, id: FileId, owner: UserId, now: Timestamp) -> PortResult<bool> {
        let filter = doc! { "_id": id.id(), "owner": owner.id(), "state": { "$ne": DELETED } };
        let deleted = self.mongo.update_one(FILES, filter, deletion(now)).await?;
        if deleted {
            self.revoke(&[id.id()]).await?;
        }
        Ok(deleted)
    }

    async fn mark_photo(&self, id: FileId, owner: UserId, of: PhotoOf) -> PortResult<bool> {
        let filter = doc! { "_id": id.id(), "owner": owner.id(), "state": READY };
        if of == PhotoOf::Group {
            let change = doc! { "$set": { "photo": true }, "$unset": { "portrait": "" } };
            return self.mongo.update_one(FILES, filter, change).await;
        }
        let mut plain = filter.clone();
        plain.insert("photo", doc! { "$ne": true });
        let change = doc! { "$set": { "photo": true, "portrait": true } };
        Ok(self.mongo.update_one(FILES, plain, change).await?
            || self
                .mongo
                .update_one(FILES, filter, doc! { "$set": { "photo": true } })
                .await?)
    }

    async fn abandon(&self, owner: UserId, now: Timestamp) -> PortResult<()> {
        let mut after = Uuid::from_bytes([0; 16]);
        loop {
            let of_owner = doc! { "owner": owner.id(), "state": { "$ne": DELETED }, "_id": { "$gt": after } };
            let query = Query::of(of_owner).sort(doc! { "_id": 1 }).limit(ABANDONED_AT_ONCE);
            let found: Vec<FileDoc> = self.mongo.find(FILES, query).await?;
            let Some(last) = found.last() else { return Ok(()) };
            after = last.id;
            self.leave(found, now).await?;
        }
    }

    async fn readable(&self, user: UserId, files: &[FileId]) -> PortResult<Vec<File>> {
        let files = each_once(files);
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let query = Query::of(doc! { "_id": { "$in": ids(&files) }, "state": READY });
        let found: Vec<FileDoc> = self.mongo.find(FILES, query).await?;
        let open = |file: &FileDoc| file.photo || file.owner == user.id();
        let closed: Vec<_> = found.iter().filter(|file| !open(file)).map(|file| file.id).collect();
        let granted = self.granted(&closed).await?;
        let conversations: HashSet<_> = granted.iter().map(|(_, conversation)| *conversation).collect();
        let conversations: Vec<_> = conversations.into_iter().collect();
        let present = chats::memberships_among(&self.mongo, user, &conversations).await?;
        let shared: HashSet<_> = granted
            .into_iter()
            .filter(|(_, conversation)| present.contains(conversation))
            .map(|(file, _)| file)
            .collect();
        let readable = found.into_iter().filter(|file| open(file) || shared.contains(&file.id));
        let mut readable: HashMap<Uuid, FileDoc> = readable.map(|file| (file.id, file)).collect();
        let in_order = files.iter().filter_map(|file| readable.remove(&file.id()));
        in_order.map(FileDoc::file).collect()
    }

    async fn grant(&self, user: UserId, conversation: ConversationId, files: &[FileId]) -> PortResult<bool> {
        let files = each_once(files);
        if files.is_empty() {
            return Ok(true);
        }
        if self.readable(user, &files).await?.len() < files.len() {
            return Ok(false);
        }
        // Refused where it was made before: that is as good.
        self.mongo
            .insert_one(GRANTS, &GrantDoc::of(conversation, &files))
            .await?;
        Ok(true)
    }

    async fn stale(&self, before: Timestamp, limit: usize) -> PortResult<Vec<File>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let query = Query::of(doc! { "unready_since": { "$lt": date(before) } });
        let query = query.sort(doc! { "unready_since": 1 }).limit(limit);
        let found: Vec<FileDoc> = self.mongo.find(FILES, query).await?;
        found.into_iter().map(FileDoc::file).collect()
    }

    async fn forget(&self, files: &[FileId]) -> PortResult<()> {
        let query = Query::of(doc! { "_id": { "$in": ids(files) }, "state": { "$ne": READY } });
        let found: Vec<FileDoc> = self.mongo.find(FILES, query).await?;
        let going: Vec<_> = found.into_iter().map(|file| file.id).collect();
        if going.is_empty() {
            return Ok(());
        }
        // Grants first: while the file is there, a crash leaves it to the next sweep.
        self.revoke(&going).await?;
        self.mongo
            .delete(FILES, doc! { "_id": { "$in": going }, "state": { "$ne": READY } })
            .await
            .map(drop)
    }
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
