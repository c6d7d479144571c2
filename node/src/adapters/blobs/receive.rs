//! Uploads: a body is written aside, counted while it comes, synced, and only then given its place.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use parking_lot::Mutex;
use rookery_actors::id::FileId;
use rookery_actors::ports::blobs::UploadId;
use rookery_actors::ports::{PortError, PortResult};
use rookery_actors::protocol::{ErrorCode, Problem};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::layout::{etag, sync_dir};
use super::signature::Permit;
use super::{Committed, DirBlobs, Temporary, failed, found};

/// A client that sends nothing for so long has gone.
const IDLE: Duration = Duration::from_secs(60);
/// The slowest upload that is waited for, in bytes a second, beyond [`IDLE`]: a slow phone, not a held-open slot.
const SLOWEST: u64 = 8 * 1024;

/// What an upload fills: a content, or one part of one.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Target {
    Whole(FileId),
    Part(FileId, String, u32),
}

/// Who writes what. The latest upload of a target has it; an earlier one, whose client has most likely given up, stops at its
/// next bytes. So no URL, however often it is used, fills more than one file.
#[derive(Default)]
pub(super) struct Turns {
    latest: Mutex<HashMap<Target, u64>>,
    count: AtomicU64,
}

struct Turn<'t> {
    turns: &'t Turns,
    target: Target,
    number: u64,
}

impl Turns {
    fn take(&self, target: Target) -> Turn<'_> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.latest.lock().insert(target.clone(), number);
        Turn {
            turns: self,
            target,
            number,
        }
    }
}

impl Turn<'_> {
    fn check(&self) -> Result<(), Problem> {
        if self.turns.latest.lock().get(&self.target) == Some(&self.number) {
            Ok(())
        } else {
            Err(Problem::new(ErrorCode::Conflict, "the same upload was begun again"))
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut latest = self.turns.latest.lock();
        if latest.get(&self.target) == Some(&self.number) {
            latest.remove(&self.target);
        }
    }
}

impl DirBlobs {
    /// Takes the body of a signed upload; answers its `ETag` once it is durable. On any failure nothing of it remains.
    pub async fn receive<B>(&self, permit: &Permit, headers: &HeaderMap, mut body: B) -> Result<String, Problem>
    where
        B: Body<Data = Bytes> + Send + Unpin,
        B::Error: Display,
    {
        let (target, size) = target(permit).ok_or_else(|| bad("this URL is for downloads"))?;
        check_head(permit, size, headers)?;
        let room = self.shared.uploads.try_acquire();
        let _room = room.map_err(|_| Problem::unavailable("too many uploads at once"))?;
        self.expect_free(&target).await?;
        let turn = self.shared.turns.take(target.clone());

        let path = self.shared.layout.temporary();
        let temporary = Temporary(Some(path.clone()));
        let mut file = create(path.clone()).await.map_err(logged)?;
        let allowance = IDLE + Duration::from_secs(size / SLOWEST);
        tokio::time::timeout(allowance, copy(&mut body, &mut file, size, &turn))
            .await
            .map_err(|_| bad("the upload is too slow"))??;
        let metadata = sync(file).await.map_err(logged)?;
        turn.check()?;
        self.place(target, path).await?;
        temporary.keep();
        metrics::counter!("node_blob_bytes_received_total").increment(size);
        Ok(etag(&metadata))
    }

    /// Says early, before a large body is sent, that it would be for nothing.
    async fn expect_free(&self, target: &Target) -> Result<(), Problem> {
        let target = target.clone();
        self.blocking("look for an upload's place", move |shared| {
            Ok(match target {
                Target::Whole(key) => match shared.layout.content(key).try_exists()? {
                    true => Err(occupied()),
                    false => Ok(()),
                },
                Target::Part(key, upload, _) => match shared.layout.upload(key, &UploadId(upload)) {
                    Some(dir) if dir.is_dir() => Ok(()),
                    _ => Err(Problem::not_found("upload")),
                },
            })
        })
        .await
        .map_err(logged)?
    }

    async fn place(&self, target: Target, temporary: PathBuf) -> Result<(), Problem> {
        self.blocking("finish an upload", move |shared| match target {
            Target::Whole(key) => Ok(match shared.commit(&temporary, key)? {
                Committed::Placed => Ok(()),
                Committed::Occupied => Err(occupied()),
            }),
            Target::Part(key, upload, number) => {
                let Some(dir) = shared.layout.upload(key, &UploadId(upload)) else {
                    return Ok(Err(Problem::not_found("upload")));
                };
                let renamed = found(std::fs::rename(&temporary, dir.join(number.to_string())))?;
                match renamed {
                    Some(()) => sync_dir(&dir).map(Ok),
                    None => Ok(Err(Problem::not_found("upload"))),
                }
            }
        })
        .await
        .map_err(logged)?
    }
}

fn target(permit: &Permit) -> Option<(Target, u64)> {
    match permit {
        Permit::Put { key, size, .. } => Some((Target::Whole(*key), *size)),
        Permit::Part {
            key,
            upload,
            number,
            size,
        } => Some((Target::Part(*key, upload.0.clone(), *number), *size)),
        Permit::Get { .. } => None,
    }
}

/// Refuses by what the request says of itself, before a byte is written.
fn check_head(permit: &Permit, size: u64, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > size => return Err(too_large(size)),
        Some(length) if length < size => return Err(bad(&format!("{length} bytes, where {size} were announced"))),
        _ => {}
    }
    match (permit, text(CONTENT_TYPE)) {
        (Permit::Put { media_type, .. }, Some(sent)) if !same_type(sent, media_type) => Err(Problem::new(
            ErrorCode::Forbidden,
            "the content type is not the one that was signed",
        )),
        _ => Ok(()),
    }
}

/// Whether two media types are the same but for their parameters, which browsers add to.
fn same_type(one: &str, other: &str) -> bool {
    let essence = |text: &str| text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    essence(one) == essence(other)
}

async fn copy<B>(body: &mut B, file: &mut File, size: u64, turn: &Turn<'_>) -> Result<(), Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let mut left = size;
    loop {
        let frame = tokio::time::timeout(IDLE, body.frame()).await;
        let Some(frame) = frame.map_err(|_| bad("the upload stands still"))? else {
            break;
        };
        let frame = frame.map_err(|error| bad(&format!("the upload broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        turn.check()?;
        left = left.checked_sub(data.len() as u64).ok_or_else(|| too_large(size))?;
        let written = file.write_all(&data).await;
        written.map_err(|error| logged(failed("write an upload", &error)))?;
    }
    match left {
        0 => Ok(()),
        _ => Err(bad(&format!("{} bytes, where {size} were announced", size - left))),
    }
}

async fn create(path: PathBuf) -> PortResult<File> {
    let created = tokio::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .await;
    created.map_err(|error| failed("begin to write an upload", &error))
}

async fn sync(mut file: File) -> PortResult<Metadata> {
    let synced = async {
        file.flush().await?;
        file.sync_all().await?;
        file.metadata().await
    };
    synced.await.map_err(|error| failed("sync an upload", &error))
}

fn bad(detail: &str) -> Problem {
    Problem::new(ErrorCode::BadRequest, detail)
}

fn too_large(size: u64) -> Problem {
    Problem::new(ErrorCode::TooLarge, format!("more than the announced {size} bytes"))
}

fn occupied() -> Problem {
    Problem::new(ErrorCode::Conflict, "this file was uploaded already; complete it")
}

/// The cause stays here; the client learns what to do.
pub(super) fn logged(error: PortError) -> Problem {
    tracing::error!(%error, "the directory of blobs failed a request");
    error.into()
}
