//! Blobs in a directory, behind URLs that this server signs and serves itself.
//!
//! Under the root: `ab/cd/<key>` holds contents (the four digits are the key's last, which are random), `tmp` what is being
//! written, `uploads/<key>.<upload>/<number>` the parts of multipart uploads. Directories are 0700, files 0600.
//!
//! A content appears by a rename of a file that is whole and synced, under a lock that lets no second writer replace it; the
//! directories are synced before anybody is told. So a crash at any instant leaves a content whole or absent, and rubbish only
//! in `tmp` and `uploads`, where the sweep finds it. There is no index to repair and no sidecar to disagree with: size and
//! `ETag` are the file's own.

mod layout;
mod percent;
mod range;
mod receive;
mod serve;
mod signature;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use ring::digest;
use rookery_actors::id::FileId;
use rookery_actors::ports::blobs::{Assembled, Blobs, Get, Head, Part, PartPut, Presigned, Put, UploadId};
use rookery_actors::ports::{PortError, PortResult};
use rookery_actors::time::Timestamp;
use tokio::sync::Semaphore;

pub(in crate::adapters) use self::serve::disposition;
pub use self::serve::{Content, Served};
pub use self::signature::{Lookup, Permit};

use self::layout::{Layout, etag, sync_dir};
use self::receive::Turns;
use self::signature::Signer;

/// Uploads that may be received at once: each holds a file descriptor and a buffer of up to 2 MiB.
const UPLOADS_AT_ONCE: usize = 256;
/// Large contents that may be put together or hashed at once, so that they cannot take every blocking thread or the disk.
const HEAVY_JOBS_AT_ONCE: usize = 2;
/// The buffer of a heavy job.
const COPY_BYTES: usize = 1024 * 1024;
/// Entries one sweep looks at in each of its two directories.
const SWEPT_AT_ONCE: usize = 10_000;

/// [`Blobs`] in a directory. Cheap to clone.
#[derive(Clone)]
pub struct DirBlobs {
    shared: Arc<Shared>,
}

struct Shared {
    layout: Layout,
    signer: Signer,
    /// Held from the check that a key is free until its content is durable.
    commit: Mutex<()>,
    turns: Turns,
    uploads: Semaphore,
    heavy: Semaphore,
}

/// Whether a written file took its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Committed {
    Placed,
    /// The key has content already; the new file was removed.
    Occupied,
}

impl DirBlobs {
    /// Opens, or makes, the directory and the signing key (`key_file`, made with mode 0600 at first start).
    pub fn open(root: &Path, key_file: &Path) -> PortResult<Self> {
        let what = |error| failed("open the directory of blobs", &error);
        let layout = Layout::create(root).map_err(what)?;
        let signer = Signer::open(key_file).map_err(|error| failed("open the signing key of blobs", &error))?;
        Ok(Self {
            shared: Arc::new(Shared {
                layout,
                signer,
                commit: Mutex::new(()),
                turns: Turns::default(),
                uploads: Semaphore::new(UPLOADS_AT_ONCE),
                heavy: Semaphore::new(HEAVY_JOBS_AT_ONCE),
            }),
        })
    }

    fn presigned(&self, permit: &Permit, headers: Vec<(String, String)>, expires_at: Timestamp) -> Presigned {
        Presigned {
            method: permit.method(),
            url: self.shared.signer.url(permit, expires_at),
            headers,
            expires_at,
        }
    }

    async fn blocking<T, F>(&self, what: &'static str, job: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || job(&shared))
            .await
            .map_err(|error| PortError::Broken(format!("{what}: {error}")))?
            .map_err(|error| failed(what, &error))
    }

    /// As [`Self::blocking`], for what reads or writes whole contents.
    async fn heavy<T, F>(&self, what: &'static str, job: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    {
        let permit = self.shared.heavy.acquire().await;
        let outcome = self.blocking(what, job).await;
        drop(permit);
        outcome
    }
}

#[async_trait]
impl Blobs for DirBlobs {
    async fn presign_put(&self, put: &Put, expires_at: Timestamp) -> PortResult<Presigned> {
        let permit = Permit::Put {
            key: put.key,
            size: put.size,
            media_type: put.media_type.clone(),
        };
        let headers = vec![("content-type".into(), put.media_type.clone())];
        Ok(self.presigned(&permit, headers, expires_at))
    }

    /// An upload takes its place as it ends.
    async fn settle(&self, key: FileId) -> PortResult<Option<Head>> {
        self.head(key).await
    }

    async fn presign_get(&self, get: &Get, expires_at: Timestamp) -> PortResult<Presigned> {
        let permit = Permit::Get {
            key: get.key,
            name: get.name.clone(),
            media_type: get.media_type.clone(),
        };
        Ok(self.presigned(&permit, Vec::new(), expires_at))
    }

    async fn begin(&self, key: FileId, _media_type: &str) -> PortResult<UploadId> {
        self.blocking("begin an upload", move |shared| shared.layout.begin(key))
            .await
    }

    async fn presign_part(&self, part: &PartPut, expires_at: Timestamp) -> PortResult<Presigned> {
        let permit = Permit::Part {
            key: part.key,
            upload: part.upload.clone(),
            number: part.number,
            size: part.size,
        };
        Ok(self.presigned(&permit, Vec::new(), expires_at))
    }

    async fn complete(&self, key: FileId, upload: &UploadId, parts: &[Part]) -> PortResult<Assembled> {
        let (upload, parts) = (upload.clone(), parts.to_vec());
        self.heavy("put an upload together", move |shared| {
            shared.assemble(key, &upload, &parts)
        })
        .await
    }

    async fn abort(&self, key: FileId, upload: &UploadId) -> PortResult<()> {
        let upload = upload.clone();
        self.blocking("abort an upload", move |shared| {
            match shared.layout.upload(key, &upload) {
                Some(dir) => missing_is_fine(std::fs::remove_dir_all(dir)),
                None => Ok(()),
            }
        })
        .await
    }

    async fn head(&self, key: FileId) -> PortResult<Option<Head>> {
        self.blocking("look up a blob", move |shared| shared.head(key)).await
    }

    async fn sha256(&self, key: FileId) -> PortResult<Option<[u8; 32]>> {
        self.heavy("hash a blob", move |shared| {
            match found(File::open(shared.layout.content(key)))? {
                Some(file) => hash(file).map(Some),
                None => Ok(None),
            }
        })
        .await
    }

    async fn delete(&self, key: FileId) -> PortResult<()> {
        self.blocking("delete a blob", move |shared| {
            let content = shared.layout.content(key);
            match found(std::fs::remove_file(&content))? {
                Some(()) => content.parent().map_or(Ok(()), sync_dir),
                None => Ok(()),
            }
        })
        .await
    }

    async fn sweep(&self, before: Timestamp) -> PortResult<usize> {
        self.blocking("sweep abandoned uploads", move |shared| {
            shared.layout.sweep(before, SWEPT_AT_ONCE)
        })
        .await
    }
}

impl Shared {
    fn head(&self, key: FileId) -> io::Result<Option<Head>> {
        // A content that another thread has just renamed is not durable before that thread lets go.
        let _durable = self.commit.lock();
        let metadata = found(std::fs::metadata(self.layout.content(key)))?;
        Ok(metadata.map(|metadata| Head {
            size: metadata.len(),
            etag: etag(&metadata),
        }))
    }

    /// Gives a whole and synced temporary file its key.
    fn commit(&self, temporary: &Path, key: FileId) -> io::Result<Committed> {
        let content = self.layout.content(key);
        self.layout.shelve(key)?;
        let _alone = self.commit.lock();
        if content.try_exists()? {
            missing_is_fine(std::fs::remove_file(temporary))?;
            return Ok(Committed::Occupied);
        }
        std::fs::rename(temporary, &content)?;
        self.layout.sync_shelf(key)?;
        Ok(Committed::Placed)
    }

    fn assemble(&self, key: FileId, upload: &UploadId, parts: &[Part]) -> io::Result<Assembled> {
        let Some(dir) = self.layout.upload(key, upload).filter(|dir| dir.is_dir()) else {
            return Ok(Assembled::NoUpload);
        };
        let temporary = self.layout.temporary();
        let outcome = match join(&dir, parts, &temporary) {
            Ok(None) => self.commit(&temporary, key).map(|_| Assembled::Done),
            Ok(Some(number)) if dir.is_dir() => Ok(Assembled::BadPart(number)),
            // Another completion of the same upload ended while this one was under way.
            Ok(Some(_)) => Ok(Assembled::NoUpload),
            Err(error) => Err(error),
        };
        if matches!(outcome, Ok(Assembled::Done)) {
            missing_is_fine(std::fs::remove_dir_all(&dir))?;
        } else {
            missing_is_fine(std::fs::remove_file(&temporary))?;
        }
        outcome
    }
}

/// Copies the parts, in the order given, into one synced file; answers the number of a part that is not as described.
fn join(dir: &Path, parts: &[Part], target: &Path) -> io::Result<Option<u32>> {
    let mut out = layout::create_file(target)?;
    for part in parts {
        let Some(mut file) = found(File::open(dir.join(part.number.to_string())))? else {
            return Ok(Some(part.number));
        };
        if etag(&file.metadata()?) != part.etag.trim_matches('"') {
            return Ok(Some(part.number));
        }
        io::copy(&mut file, &mut out)?;
    }
    out.sync_all()?;
    Ok(None)
}

fn hash(mut file: File) -> io::Result<[u8; 32]> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    Ok(sum)
}

/// `None` for what does not exist.
fn found<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn missing_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    found(outcome).map(|_| ())
}

/// What a failure of the file system means for the caller.
fn failed(what: &str, error: &io::Error) -> PortError {
    let message = format!("{what}: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => PortError::Unavailable(message),
        _ if error.raw_os_error() == Some(libc::EMFILE) => PortError::Unavailable(message),
        _ => PortError::Broken(message),
    }
}

/// Removes a temporary file unless it took its place.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // What cannot be removed now is found by the sweep.
            std::fs::remove_file(path).ok();
        }
    }
}

#[cfg(test)]
mod tests;
