//! Port: the store of files: what was uploaded by whom, and into which conversations it was sent.
//!
//! Who may read a file is decided at the moment of reading: its uploader, the present members of the conversations it was
//! sent to, and every signed-in user where it is a photo. Nothing is copied per reader.

use async_trait::async_trait;

use super::PortResult;
use super::blobs::UploadId;
use crate::id::{ConversationId, FileId, UserId};
use crate::protocol::Problem;
use crate::time::Timestamp;

/// How far a file has got. There is no way back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileState {
    /// Announced; its bytes are on the way.
    Pending,
    /// Whole and checked: may be sent and read.
    Ready,
    /// Gone for everybody; the row waits for the sweep.
    Deleted,
}

/// Whose photo a file is. A group's outlives the account of its uploader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PhotoOf {
    User,
    Group,
}

/// A file as the store knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    pub id: FileId,
    pub owner: UserId,
    pub name: String,
    pub media_type: String,
    pub size: u64,
    pub sha256: Option<[u8; 32]>,
    pub state: FileState,
    /// The multipart upload, for one too large for a single request.
    pub upload: Option<UploadId>,
    /// A photo: every signed-in user may read it.
    pub photo: Option<PhotoOf>,
    pub created_at: Timestamp,
}

/// The store of files. Everything answered `Ok` is durable.
#[async_trait]
pub trait FileStore: Send + Sync + 'static {
    /// Adds a file, unless its owner already has `most_pending` that are pending: then false and nothing is done.
    async fn create(&self, file: File, most_pending: usize) -> PortResult<bool>;

    /// A file in whatever state; `None` for an unknown one.
    async fn file(&self, id: FileId) -> PortResult<Option<File>>;

    /// Makes a pending file ready. True when it is ready now (also when it was), false when it is deleted or unknown.
    async fn finish(&self, id: FileId) -> PortResult<bool>;

    /// Deletes a file of that owner and everything it was granted to. False when there is none (any more).
    async fn delete(&self, id: FileId, owner: UserId, now: Timestamp) -> PortResult<bool>;

    /// Marks a ready file of that owner as a photo; a group's remains one. False when there is none.
    async fn mark_photo(&self, id: FileId, owner: UserId, of: PhotoOf) -> PortResult<bool>;

    /// Those of the files that are ready and that the user may read now, in the order asked, each once.
    async fn readable(&self, user: UserId, files: &[FileId]) -> PortResult<Vec<File>>;

    /// Lets the members of a conversation, whoever they are at the time of reading, read the files. All or nothing: false,
    /// and no grant at all, unless each is ready and readable by `user` at this moment. Granting again changes nothing.
    async fn grant(&self, user: UserId, conversation: ConversationId, files: &[FileId]) -> PortResult<bool>;

    /// That owner's account is gone: deletes the files that nobody else may read, which are those that were granted to no
    /// conversation and are no group's photo; of the others none is a user's photo any more. Doing it again is harmless.
    async fn abandon(&self, owner: UserId, now: Timestamp) -> PortResult<()>;

    /// Files created before that time and still pending, and files deleted before it, oldest first, at most `limit`.
    async fn stale(&self, before: Timestamp, limit: usize) -> PortResult<Vec<File>>;

    /// Removes the rows of files that are pending or deleted, with their grants; a ready one stays.
    async fn forget(&self, files: &[FileId]) -> PortResult<()>;
}

/// What a conversation needs of files when a message with attachments is sent.
#[async_trait]
pub trait Attachments: Send + Sync + 'static {
    /// Lets the conversation's members read the files, or shares nothing: a file of the sender's that is not completed is an
    /// `invalid_field` (`attachments`), one the sender may not read is `not_found`. Repeats are harmless, and so is sharing
    /// where the sender turns out not to be a member: it lets others read what the sender could have told them.
    async fn share(&self, user: UserId, conversation: ConversationId, files: &[FileId]) -> Result<(), Problem>;
}
