//! Blobs in a bucket of Amazon S3, or of anything that speaks its protocol.
//!
//! Clients move bytes straight to and from the store, by URLs signed here. Size, type and, where announced, SHA-256 of an upload
//! are part of its signature, so the store itself refuses whatever differs.
//!
//! A signed `PUT` stays good until it expires, and stores disagree on conditional writes: some ignore `If-None-Match` and
//! overwrite. So no client ever holds a URL that writes under a key that is read: a whole upload goes to `uploads/<key>`, and only
//! [`Blobs::settle`] copies it to `<key>`, once; what is put aside later is never looked at and swept after a day. A multipart
//! upload goes to `<key>` itself, as its parts become visible by the completion alone, which is asked for only here.
//!
//! Two nodes that settle the same key at the same instant may copy one after the other. Both copies have the signed size, type
//! and SHA-256, so what was checked at completion still holds for what is read.
//!
//! There is no lock and no state in the process: every node of a cluster has one of these.

mod client;
mod clock;
mod errors;
mod multipart;
mod settings;
mod sweep;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest;
use rookery_actors::id::FileId;
use rookery_actors::ports::blobs::{Assembled, Blobs, Get, Head, Part, PartPut, Presigned, Put, UploadId};
use rookery_actors::ports::{PortError, PortResult};
use rookery_actors::time::Timestamp;

pub use self::settings::Settings;

use self::clock::Clock;
use self::errors::{failed, is_missing};
use super::blobs::disposition;

/// How long the first request may take, retries included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often, and how soon, an object is written again that met another node's.
const MOST_CONFLICTS: u32 = 20;
const CONFLICT_PAUSE: Duration = Duration::from_millis(50);
/// Where uploads lie until they are settled.
const ASIDE: &str = "uploads/";
/// What browsers may keep, and for how long; as the embedded blobs say it.
const CACHE_CONTROL: &str = "private, max-age=3600";

/// [`Blobs`] in a bucket. Cheap to clone.
#[derive(Clone)]
pub struct S3Blobs {
    client: Client,
    /// Signs for the endpoint that clients reach; makes no requests.
    signer: Client,
    clock: Clock,
    bucket: String,
    prefix: String,
}

impl S3Blobs {
    /// Makes sure that objects can be written and removed there. The error is one sentence for the operator.
    pub async fn open(settings: &Settings) -> PortResult<Self> {
        let clock = Clock::default();
        let blobs = Self {
            client: client::client(settings, &clock)?,
            signer: client::signer(settings, &clock)?,
            clock,
            bucket: settings.bucket.clone(),
            prefix: settings.prefix.clone(),
        };
        // On the heap: the SDK's futures are nested as deep as the compiler looks, and others are around this one.
        let tried = tokio::time::timeout(OPEN_TIMEOUT, Box::pin(blobs.try_out(settings))).await;
        tried.unwrap_or_else(|_| {
            let place = settings.place();
            Err(PortError::Unavailable(format!(
                "S3: {place} did not answer within 10 s"
            )))
        })?;
        Ok(blobs)
    }

    /// Writes and removes an object of this node's own. Stores on a file system may take it for a conflict when another node
    /// removes one beside it at the same moment.
    async fn try_out(&self, settings: &Settings) -> PortResult<()> {
        let key = format!("{}{ASIDE}try-out-{}", self.prefix, FileId::fresh());
        let put = async || {
            let put = self.client.put_object().bucket(&self.bucket).key(&key);
            put.body(ByteStream::from_static(b"")).send().await
        };
        insist(put)
            .await
            .map_err(|error| errors::cannot_open(settings, &error))?;
        let delete = async || self.client.delete_object().bucket(&self.bucket).key(&key).send().await;
        insist(delete)
            .await
            .map_err(|error| errors::cannot_open(settings, &error))?;
        Ok(())
    }

    /// Where the content is.
    fn key(&self, key: FileId) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Where it is put before it is settled.
    fn aside(&self, key: FileId) -> String {
        format!("{}{ASIDE}{key}", self.prefix)
    }

    async fn delete_object(&self, key: String) -> PortResult<()> {
        let deleted = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(failed("delete an object", &error)),
        }
    }
}

/// Asks again while it may be another node's doing that it fails.
async fn insist<T, E>(request: impl AsyncFn() -> Result<T, SdkError<E>>) -> Result<T, SdkError<E>>
where
    E: ProvideErrorMetadata,
{
    let mut conflicts = 0;
    loop {
        match request().await {
            Err(error) if errors::may_be_conflict(&error) && conflicts < MOST_CONFLICTS => {
                conflicts += 1;
                tokio::time::sleep(CONFLICT_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn presign_put(&self, put: &Put, expires_at: Timestamp) -> PortResult<Presigned> {
        let request = self
            .signer
            .put_object()
            .bucket(&self.bucket)
            .key(self.aside(put.key))
            .content_length(signed_length(put.size)?)
            .content_type(&put.media_type)
            .set_checksum_sha256(put.sha256.map(|sum| BASE64_STANDARD.encode(sum)));
        let signed = request.presigned(until(expires_at, &self.clock)?).await;
        signed
            .map(|request| presigned("PUT", &request, expires_at))
            .map_err(|error| failed("sign an upload", &error))
    }

    async fn settle(&self, key: FileId) -> PortResult<Option<Head>> {
        if let Some(settled) = self.head(key).await? {
            return Ok(Some(settled));
        }
        let source = format!("{}/{}", self.bucket, self.aside(key));
        let copy = self.client.copy_object().bucket(&self.bucket).key(self.key(key));
        match copy
            .copy_source(source)
            .customize()
            .config_override(client::long())
            .send()
            .await
        {
            Ok(_) => self.delete_object(self.aside(key)).await?,
            // Nothing was put, or somebody else has just settled it.
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(failed("settle an upload", &error)),
        }
        self.head(key).await
    }

    async fn presign_get(&self, get: &Get, expires_at: Timestamp) -> PortResult<Presigned> {
        let request = self
            .signer
            .get_object()
            .bucket(&self.bucket)
            .key(self.key(get.key))
            .response_content_type(&get.media_type)
            .response_content_disposition(disposition(&get.name))
            .response_cache_control(CACHE_CONTROL);
        let signed = request.presigned(until(expires_at, &self.clock)?).await;
        signed
            .map(|request| presigned("GET", &request, expires_at))
            .map_err(|error| failed("sign a download", &error))
    }

    async fn begin(&self, key: FileId, media_type: &str) -> PortResult<UploadId> {
        self.begin_multipart(key, media_type).await
    }

    async fn presign_part(&self, part: &PartPut, expires_at: Timestamp) -> PortResult<Presigned> {
        let request = self
            .signer
            .upload_part()
            .bucket(&self.bucket)
            .key(self.key(part.key))
            .upload_id(&part.upload.0)
            .part_number(multipart::part_number(part.number)?)
            .content_length(signed_length(part.size)?);
        let signed = request.presigned(until(expires_at, &self.clock)?).await;
        signed
            .map(|request| presigned("PUT", &request, expires_at))
            .map_err(|error| failed("sign a part of an upload", &error))
    }

    async fn complete(&self, key: FileId, upload: &UploadId, parts: &[Part]) -> PortResult<Assembled> {
        if self.head(key).await?.is_some() {
            self.abort_multipart(self.key(key), &upload.0).await?;
            return Ok(Assembled::Done);
        }
        self.complete_multipart(key, upload, parts).await
    }

    async fn abort(&self, key: FileId, upload: &UploadId) -> PortResult<()> {
        self.abort_multipart(self.key(key), &upload.0).await
    }

    async fn head(&self, key: FileId) -> PortResult<Option<Head>> {
        let head = self.client.head_object().bucket(&self.bucket).key(self.key(key));
        match head.send().await {
            Ok(head) => Ok(Some(Head {
                size: head.content_length().and_then(|size| size.try_into().ok()).unwrap_or(0),
                etag: head.e_tag().unwrap_or_default().to_owned(),
            })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed("look up an object", &error)),
        }
    }

    async fn sha256(&self, key: FileId) -> PortResult<Option<[u8; 32]>> {
        let get = self.client.get_object().bucket(&self.bucket).key(self.key(key));
        let mut body = match get.send().await {
            Ok(object) => object.body,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(failed("read an object", &error)),
        };
        let mut context = digest::Context::new(&digest::SHA256);
        let broke_off = |error| PortError::Unavailable(format!("S3: read an object: {error}"));
        while let Some(bytes) = body.try_next().await.map_err(broke_off)? {
            context.update(&bytes);
        }
        let mut sum = [0; 32];
        sum.copy_from_slice(context.finish().as_ref());
        Ok(Some(sum))
    }

    async fn delete(&self, key: FileId) -> PortResult<()> {
        // First what could be settled, or a completion at this moment would bring the content back.
        self.delete_object(self.aside(key)).await?;
        self.delete_object(self.key(key)).await
    }

    async fn sweep(&self, before: Timestamp) -> PortResult<usize> {
        Ok(self.sweep_aside(before).await? + self.sweep_multipart(before).await?)
    }
}

/// The time a signature is good for. One that has expired is signed all the same, for the store to refuse.
fn until(expires_at: Timestamp, clock: &Clock) -> PortResult<PresigningConfig> {
    let left = expires_at.0.saturating_sub(Timestamp::now().0);
    let lasts = u64::try_from(left).unwrap_or(0).max(1000);
    let begins = clock.now().0 + if left > 0 { 0 } else { left - 1000 };
    let begins = SystemTime::UNIX_EPOCH + Duration::from_millis(begins.try_into().unwrap_or(0));
    PresigningConfig::builder()
        .start_time(begins)
        .expires_in(Duration::from_millis(lasts))
        .build()
        .map_err(|error| PortError::Broken(format!("sign a request to S3: {error}")))
}

fn signed_length(size: u64) -> PortResult<i64> {
    i64::try_from(size).map_err(|_| PortError::Broken(format!("sign an upload to S3: {size} bytes are too many")))
}

fn presigned(method: &'static str, request: &PresignedRequest, expires_at: Timestamp) -> Presigned {
    // What HTTP itself says of every request is signed too, and not for the client to repeat: browsers forbid that.
    let said_anyway = |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case("content-length");
    let headers = request.headers().filter(|(name, _)| !said_anyway(name));
    Presigned {
        method,
        url: request.uri().to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        expires_at,
    }
}
