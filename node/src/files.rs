//! Attachments and photos: announced, uploaded straight to the blobs, checked, and read by those they were sent to.
//!
//! Who may do what is decided here; where the bytes lie and how URLs are signed is the blobs' business, what is known of a file
//! and who may read it the store's. A file's bytes never pass through this module.

mod multipart;
mod new;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rookery_actors::id::{ConversationId, FileId, UserId};
use rookery_actors::ports::PortError;
use rookery_actors::ports::blobs::{Assembled, Blobs, Get, Head, Part, PartPut, Presigned, Put};
use rookery_actors::ports::files::{Attachments, File, FileState, FileStore, PhotoOf};
use rookery_actors::protocol::{ErrorCode, Problem};
use rookery_actors::time::Timestamp;

pub use self::new::NewFile;

/// A file above this size is uploaded in parts.
pub const MULTIPART_ABOVE: u64 = 100 * 1024 * 1024;
/// How long an upload in one request may take to begin.
const UPLOAD_TTL: Duration = Duration::from_secs(60 * 60);
/// How long a part of an upload may take to begin: a large file over a slow line, within what the sweep spares.
const PARTS_TTL: Duration = Duration::from_secs(12 * 60 * 60);
/// How long a download may take to begin. Short: who leaves a conversation keeps the URLs already handed out.
const DOWNLOAD_TTL: Duration = Duration::from_secs(15 * 60);
/// Files a user may have announced and not completed; each may hold as much as `file_bytes` of the disk for a day.
const MOST_PENDING: usize = 100;
/// An upload that is not complete after so long was given up.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Files one sweep clears away at most.
const SWEPT_AT_ONCE: usize = 1_000;

/// Where any signed-in user finds a photo: a stable path, which leads on to a fresh URL.
pub fn photo_url(photo: FileId) -> String {
    format!("/api/files/{photo}/photo")
}

/// The files of all users. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn FileStore>,
    blobs: Arc<dyn Blobs>,
    file_bytes: u64,
}

/// A file that was announced, and how its bytes are to be uploaded.
pub struct Created {
    pub file: File,
    pub upload: Upload,
}

/// Where the bytes go.
pub enum Upload {
    Whole(Presigned),
    /// In order of their numbers; the size of each.
    Parts(Vec<(PartPut, Presigned)>),
}

/// A fresh URL to read a file from.
pub struct Download {
    pub file: File,
    pub request: Presigned,
}

impl Files {
    /// Over a store and blobs; no file may be larger than `file_bytes`.
    pub fn new(store: Arc<dyn FileStore>, blobs: Arc<dyn Blobs>, file_bytes: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                blobs,
                file_bytes,
            }),
        }
    }

    /// Announces a file and signs its upload.
    pub async fn create(&self, user: UserId, new: NewFile) -> Result<Created, Problem> {
        let mut file = new.check(user, self.shared.file_bytes, Timestamp::now())?;
        if file.size > MULTIPART_ABOVE {
            let begun = self.blobs().begin(file.id, &file.media_type).await;
            file.upload = Some(begun.map_err(logged)?);
        }
        let upload = self.sign_upload(&file).await?;
        match self.store().create(file.clone(), MOST_PENDING).await {
            Ok(true) => Ok(Created { file, upload }),
            Ok(false) => {
                self.abort(&file).await;
                let why = format!("{MOST_PENDING} uploads are not completed; complete or delete some");
                Err(Problem::new(ErrorCode::RateLimited, why).retry_after(60_000))
            }
            Err(error) => {
                self.abort(&file).await;
                Err(logged(error))
            }
        }
    }

    /// Checks what was uploaded against what was announced; from then on the file may be sent. A repeat answers alike.
    pub async fn complete(&self, user: UserId, id: FileId, parts: Option<Vec<Part>>) -> Result<File, Problem> {
        let file = self.own(user, id).await?;
        if file.state == FileState::Ready {
            return Ok(file);
        }
        let Some(head) = self.uploaded(&file, parts).await? else {
            return Err(Problem::new(ErrorCode::Conflict, "nothing was uploaded yet"));
        };
        self.verify(&file, head).await?;
        if !self.store().finish(id).await.map_err(logged)? {
            return Err(Problem::not_found("file"));
        }
        Ok(File {
            state: FileState::Ready,
            upload: None,
            ..file
        })
    }

    /// A fresh URL, for those who may read the file now.
    pub async fn download(&self, user: UserId, id: FileId) -> Result<Download, Problem> {
        let found = self.store().readable(user, &[id]).await.map_err(logged)?;
        let file = found.into_iter().next().ok_or_else(|| Problem::not_found("file"))?;
        self.signed_download(file).await
    }

    /// A fresh URL of a photo, for any signed-in user.
    pub async fn photo(&self, id: FileId) -> Result<Download, Problem> {
        let found = self.store().file(id).await.map_err(logged)?;
        let photo = found.filter(|file| file.photo.is_some() && file.state == FileState::Ready);
        self.signed_download(photo.ok_or_else(|| Problem::not_found("photo"))?)
            .await
    }

    /// Makes a file the photo of a user or a group: it must be the user's own, ready, and an image, else `invalid_field`.
    pub async fn adopt_photo(&self, user: UserId, id: FileId, of: PhotoOf) -> Result<(), Problem> {
        let found = self.store().file(id).await.map_err(logged)?;
        let image = found.is_some_and(|file| file.owner == user && new::is_image(&file.media_type));
        if image && self.store().mark_photo(id, user, of).await.map_err(logged)? {
            Ok(())
        } else {
            Err(Problem::field("photo", "is no uploaded image of yours"))
        }
    }

    /// Deletes a file of one's own, for everybody. A repeat answers as the first did. Of another's file, who may read it hears
    /// `forbidden`, and who may not that there is none.
    pub async fn delete(&self, user: UserId, id: FileId) -> Result<(), Problem> {
        let found = self.store().file(id).await.map_err(logged)?;
        let Some(file) = found.filter(|file| file.owner == user) else {
            return Err(self.not_ones_own(user, id).await?);
        };
        let deleted = self.store().delete(id, user, Timestamp::now()).await;
        if deleted.map_err(logged)? {
            // The row is the truth; bytes that stay behind now are found by the sweep.
            self.erase(&file).await.map_err(logged).ok();
        }
        Ok(())
    }

    /// Clears away what was announced or deleted more than a day ago, and what abandoned uploads left behind. At most a bounded
    /// number; says how many files and remnants. To be called now and then.
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, PortError> {
        let before = Timestamp(now.0 - ABANDONED_AFTER.as_millis() as i64);
        let stale = self.store().stale(before, SWEPT_AT_ONCE).await?;
        let mut gone = Vec::with_capacity(stale.len());
        for file in &stale {
            self.erase(file).await?;
            gone.push(file.id);
        }
        self.store().forget(&gone).await?;
        let swept = gone.len() + self.blobs().sweep(before).await?;
        metrics::counter!("node_files_swept_total").increment(swept as u64);
        Ok(swept)
    }

    async fn not_ones_own(&self, user: UserId, id: FileId) -> Result<Problem, Problem> {
        let readable = self.store().readable(user, &[id]).await.map_err(logged)?;
        Ok(if readable.is_empty() {
            Problem::not_found("file")
        } else {
            Problem::new(ErrorCode::Forbidden, "only its uploader deletes a file")
        })
    }

    fn store(&self) -> &dyn FileStore {
        &*self.shared.store
    }

    fn blobs(&self) -> &dyn Blobs {
        &*self.shared.blobs
    }

    /// A living file of that user.
    async fn own(&self, user: UserId, id: FileId) -> Result<File, Problem> {
        let found = self.store().file(id).await.map_err(logged)?;
        found
            .filter(|file| file.owner == user && file.state != FileState::Deleted)
            .ok_or_else(|| Problem::not_found("file"))
    }

    async fn sign_upload(&self, file: &File) -> Result<Upload, Problem> {
        let Some(upload) = &file.upload else {
            let put = Put {
                key: file.id,
                size: file.size,
                media_type: file.media_type.clone(),
                sha256: file.sha256,
            };
            let signed = self.blobs().presign_put(&put, after(UPLOAD_TTL)).await;
            return signed.map(Upload::Whole).map_err(logged);
        };
        let expires_at = after(PARTS_TTL);
        let mut signed = Vec::new();
        for (number, size) in multipart::parts(file.size) {
            let part = PartPut {
                key: file.id,
                upload: upload.clone(),
                number,
                size,
            };
            let request = self.blobs().presign_part(&part, expires_at).await.map_err(logged)?;
            signed.push((part, request));
        }
        Ok(Upload::Parts(signed))
    }

    /// What lies in the blobs once what was put is settled, and parts are put together.
    async fn uploaded(&self, file: &File, parts: Option<Vec<Part>>) -> Result<Option<u64>, Problem> {
        let size = |head: Option<Head>| head.map(|head| head.size);
        let Some(upload) = &file.upload else {
            return self.blobs().settle(file.id).await.map(size).map_err(logged);
        };
        let stored = self.blobs().head(file.id).await.map_err(logged)?;
        if stored.is_some() {
            return Ok(size(stored));
        }
        let parts = multipart::in_order(parts, file.size)?;
        let assembled = self.blobs().complete(file.id, upload, &parts).await;
        match assembled.map_err(logged)? {
            Assembled::BadPart(number) => Err(Problem::field(
                "parts",
                format!("part {number} was not uploaded, or with another etag"),
            )),
            // With no upload a completion at the same time may have been quicker.
            Assembled::Done | Assembled::NoUpload => self.blobs().head(file.id).await.map(size).map_err(logged),
        }
    }

    /// Refuses, and removes, what is not what was announced.
    async fn verify(&self, file: &File, size: u64) -> Result<(), Problem> {
        let wrong = if size != file.size {
            Some(("size", format!("{size} bytes were uploaded")))
        } else if let Some(announced) = file.sha256 {
            let actual = self.blobs().sha256(file.id).await.map_err(logged)?;
            (actual != Some(announced)).then(|| ("sha256", "is not that of what was uploaded".into()))
        } else {
            None
        };
        let Some((field, message)) = wrong else {
            return Ok(());
        };
        self.blobs().delete(file.id).await.map_err(logged)?;
        Err(Problem::field(field, message))
    }

    async fn signed_download(&self, file: File) -> Result<Download, Problem> {
        let get = Get {
            key: file.id,
            name: file.name.clone(),
            media_type: file.media_type.clone(),
        };
        let request = self.blobs().presign_get(&get, after(DOWNLOAD_TTL)).await;
        Ok(Download {
            request: request.map_err(logged)?,
            file,
        })
    }

    async fn erase(&self, file: &File) -> Result<(), PortError> {
        if let Some(upload) = &file.upload {
            self.blobs().abort(file.id, upload).await?;
        }
        self.blobs().delete(file.id).await
    }

    /// Frees an upload that will not be used. What fails here is found by the blobs' own sweep.
    async fn abort(&self, file: &File) {
        if let Some(upload) = &file.upload {
            self.blobs().abort(file.id, upload).await.map_err(logged).ok();
        }
    }
}

#[async_trait]
impl Attachments for Files {
    async fn share(&self, user: UserId, conversation: ConversationId, files: &[FileId]) -> Result<(), Problem> {
        if files.is_empty() || self.store().grant(user, conversation, files).await.map_err(logged)? {
            return Ok(());
        }
        for id in files {
            // What is not ready is told apart from what is not there to its uploader alone.
            let found = self.store().file(*id).await.map_err(logged)?;
            if found.is_some_and(|file| file.owner == user && file.state == FileState::Pending) {
                return Err(Problem::field("attachments", format!("{id} is not completed")));
            }
        }
        Err(Problem::not_found("file"))
    }
}

fn after(ttl: Duration) -> Timestamp {
    Timestamp(Timestamp::now().0 + ttl.as_millis() as i64)
}

/// The cause stays here; the client learns what to do.
fn logged(error: PortError) -> Problem {
    error.log("a service behind the files failed a request");
    error.into()
}

#[cfg(test)]
mod tests;
