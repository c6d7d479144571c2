//! Large contents, put together by the store from their parts.

use std::collections::HashMap;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use rookery_actors::id::FileId;
use rookery_actors::ports::blobs::{Assembled, Part, UploadId};
use rookery_actors::ports::{PortError, PortResult};

use super::S3Blobs;
use super::client;
use super::errors::{failed, is_missing};

pub(super) fn part_number(number: u32) -> PortResult<i32> {
    i32::try_from(number).map_err(|_| PortError::Broken(format!("S3 has no part {number}")))
}

impl S3Blobs {
    pub(super) async fn begin_multipart(&self, key: FileId, media_type: &str) -> PortResult<UploadId> {
        let begin = self.client.create_multipart_upload().bucket(&self.bucket);
        let begun = begin.key(self.key(key)).content_type(media_type).send().await;
        let begun = begun.map_err(|error| failed("begin an upload", &error))?;
        let id = begun.upload_id().unwrap_or_default().to_owned();
        Ok(UploadId(id))
    }

    pub(super) async fn complete_multipart(
        &self,
        key: FileId,
        upload: &UploadId,
        parts: &[Part],
    ) -> PortResult<Assembled> {
        let mut named = Vec::with_capacity(parts.len());
        for part in parts {
            let number = part_number(part.number)?;
            named.push(CompletedPart::builder().part_number(number).e_tag(&part.etag).build());
        }
        let whole = CompletedMultipartUpload::builder().set_parts(Some(named)).build();
        let complete = self.client.complete_multipart_upload().bucket(&self.bucket);
        let complete = complete.key(self.key(key)).upload_id(&upload.0).multipart_upload(whole);
        match complete.customize().config_override(client::long()).send().await {
            Ok(_) => Ok(Assembled::Done),
            Err(error) if is_missing(&error) => Ok(Assembled::NoUpload),
            // The store does not say which.
            Err(error) if error.code() == Some("InvalidPart") => match self.wrong_part(key, upload, parts).await? {
                Some(number) => Ok(Assembled::BadPart(number)),
                None => Err(failed("put an upload together", &error)),
            },
            Err(error) => Err(failed("put an upload together", &error)),
        }
    }

    /// The first of these parts that is not there, or there with another tag.
    async fn wrong_part(&self, key: FileId, upload: &UploadId, parts: &[Part]) -> PortResult<Option<u32>> {
        let list = self.client.list_parts().bucket(&self.bucket);
        let mut pages = list.key(self.key(key)).upload_id(&upload.0).into_paginator().send();
        let mut there = HashMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("list the parts of an upload", &error))?;
            for part in page.parts() {
                let number = part.part_number().and_then(|number| u32::try_from(number).ok());
                there.insert(number.unwrap_or(0), bare(part.e_tag().unwrap_or_default()).to_owned());
            }
        }
        let is_wrong = |part: &&Part| there.get(&part.number).map(String::as_str) != Some(bare(&part.etag));
        Ok(parts.iter().find(is_wrong).map(|part| part.number))
    }

    pub(super) async fn abort_multipart(&self, key: String, upload: &str) -> PortResult<()> {
        let abort = self.client.abort_multipart_upload().bucket(&self.bucket);
        match abort.key(key).upload_id(upload).send().await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(failed("abort an upload", &error)),
        }
    }
}

/// A tag without the quotes that some answers have and others lack.
fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}
