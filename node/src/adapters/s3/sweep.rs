//! What uploads that were given up have left behind.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::DateTime;
use rookery_actors::id::FileId;
use rookery_actors::ports::PortResult;
use rookery_actors::time::Timestamp;

use super::errors::failed;
use super::{ASIDE, S3Blobs};

/// Entries of each kind that one sweep looks at: one page, from the oldest, as the keys begin with their time.
const SWEPT_AT_ONCE: i32 = 1_000;

impl S3Blobs {
    /// Removes what was put aside and never settled.
    pub(super) async fn sweep_aside(&self, before: Timestamp) -> PortResult<usize> {
        let aside = format!("{}{ASIDE}", self.prefix);
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(&aside);
        let page = list.max_keys(SWEPT_AT_ONCE).send().await;
        let page = page.map_err(|error| failed("list uploads", &error))?;
        let mut swept = 0;
        for object in page.contents() {
            let Some(key) = object.key().filter(|_| is_older(object.last_modified(), before)) else {
                continue;
            };
            self.delete_object(key.to_owned()).await?;
            swept += 1;
        }
        Ok(swept)
    }

    /// Ends multipart uploads of ours that were never completed; what else uses the bucket is left alone.
    pub(super) async fn sweep_multipart(&self, before: Timestamp) -> PortResult<usize> {
        let list = self
            .client
            .list_multipart_uploads()
            .bucket(&self.bucket)
            .prefix(&self.prefix);
        let page = match list.max_uploads(SWEPT_AT_ONCE).send().await {
            Ok(page) => page,
            // Such a store has rules of its own for what is never completed.
            Err(error) if error.code() == Some("NotImplemented") => return Ok(0),
            Err(error) => return Err(failed("list multipart uploads", &error)),
        };
        let mut swept = 0;
        for upload in page.uploads() {
            let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else {
                continue;
            };
            if self.is_ours(key) && is_older(upload.initiated(), before) {
                self.abort_multipart(key.to_owned(), id).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn is_ours(&self, key: &str) -> bool {
        let id = key.strip_prefix(&self.prefix);
        id.is_some_and(|id| id.parse::<FileId>().is_ok())
    }
}

fn is_older(time: Option<&DateTime>, before: Timestamp) -> bool {
    time.and_then(|time| time.to_millis().ok())
        .is_some_and(|time| time < before.0)
}
