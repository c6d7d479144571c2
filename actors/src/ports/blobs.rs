//! Port: where the bytes of files live. Clients move them straight to and from the store, by URLs that expire.
//!
//! A key is a file's id and is written **once**: what was checked at completion is what every later download gets. Nothing
//! can be read under a key before its upload is whole and durable; an upload that breaks off leaves nothing to be seen.

use async_trait::async_trait;

use super::PortResult;
use crate::id::FileId;
use crate::time::Timestamp;

/// A multipart upload under way. Opaque: what the store called it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadId(pub String);

/// What may be uploaded in one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    pub key: FileId,
    /// Exactly so many bytes: more or fewer are refused and leave nothing.
    pub size: u64,
    /// Sent as `Content-Type`; a request that names another type is refused.
    pub media_type: String,
    /// A store that can check it during the upload does; the others leave it to [`Blobs::sha256`].
    pub sha256: Option<[u8; 32]>,
}

/// One part of a multipart upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartPut {
    pub key: FileId,
    pub upload: UploadId,
    /// From 1.
    pub number: u32,
    /// Exactly so many bytes.
    pub size: u64,
}

/// What a download is called and declared as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Get {
    pub key: FileId,
    /// Becomes the file name of an attachment; a browser never shows the content in place.
    pub name: String,
    pub media_type: String,
}

/// A request that anybody who has it may make until it expires. Keep it out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Presigned {
    pub method: &'static str,
    /// Absolute, or a path and query (beginning with `/`) where this server itself serves the content.
    pub url: String,
    /// Headers the request must carry as they stand here.
    pub headers: Vec<(String, String)>,
    pub expires_at: Timestamp,
}

/// An uploaded part, as the store's answer to its upload named it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    pub number: u32,
    pub etag: String,
}

/// How putting parts together went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assembled {
    /// The content is whole and durable under its key, and the upload is over.
    Done,
    /// No such upload: never begun, aborted, swept, or already completed.
    NoUpload,
    /// The part with that number is missing or was uploaded again with another `ETag`. The upload goes on.
    BadPart(u32),
}

/// What is stored under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    pub size: u64,
    pub etag: String,
}

/// Object storage. All answers are of committed state; what is answered `Ok` is durable.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// A `PUT` of a whole content, which [`Blobs::settle`] makes that of its key. Once the key has content, such an upload
    /// changes nothing: the store refuses it, or puts it where nobody reads.
    async fn presign_put(&self, put: &Put, expires_at: Timestamp) -> PortResult<Presigned>;

    /// Makes what was put the content of its key, if that has none yet; says what the key holds now, `None` when nothing was
    /// put. A step of its own because a signed URL is good until it expires, and not every store can be told to write a key
    /// only once. Where one can, the upload itself may have given the key its content.
    async fn settle(&self, key: FileId) -> PortResult<Option<Head>>;

    /// A `GET` (and, where the node itself serves it, `HEAD`) with support for single byte ranges. Signing asks nothing of the
    /// store: a key without content gives a URL that answers 404.
    async fn presign_get(&self, get: &Get, expires_at: Timestamp) -> PortResult<Presigned>;

    /// Begins a multipart upload. Several of one key may be under way; the first to be completed wins.
    async fn begin(&self, key: FileId, media_type: &str) -> PortResult<UploadId>;

    /// A `PUT` of one part; its answer carries the `ETag` that [`Blobs::complete`] wants. Parts may come in any order, at the
    /// same time, and again: the last one that came whole counts.
    async fn presign_part(&self, part: &PartPut, expires_at: Timestamp) -> PortResult<Presigned>;

    /// Puts the parts together in the given order, which must be that of ascending numbers. A key that already has content
    /// keeps it, and the answer is `Done`.
    async fn complete(&self, key: FileId, upload: &UploadId, parts: &[Part]) -> PortResult<Assembled>;

    /// Ends an upload and frees its parts. Of one that does not exist: nothing happens.
    async fn abort(&self, key: FileId, upload: &UploadId) -> PortResult<()>;

    /// What is stored under the key; `None` when nothing is (whole).
    async fn head(&self, key: FileId) -> PortResult<Option<Head>>;

    /// The SHA-256 of the stored content, read anew; `None` when there is none. May take long for a large one.
    async fn sha256(&self, key: FileId) -> PortResult<Option<[u8; 32]>>;

    /// Removes the content. Of a key without any: nothing happens. A download under way may still end well.
    async fn delete(&self, key: FileId) -> PortResult<()>;

    /// Frees what uploads abandoned before that time have left behind, at most a bounded number a call; says how many.
    async fn sweep(&self, before: Timestamp) -> PortResult<usize>;
}
