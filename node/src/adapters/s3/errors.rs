//! What the store's errors mean.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use rookery_actors::ports::PortError;

use super::Settings;
use crate::adapters::authorities::{self, Obstacle};

/// Nothing is there. A `HEAD` has no body that could tell an absent object from an absent bucket; that the bucket is there was
/// seen at start.
pub(super) fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let what = error.code().unwrap_or("NotFound");
    status(error) == Some(404) && ["NotFound", "NoSuchKey", "NoSuchUpload"].contains(&what)
}

/// Something else happens to the object, or beside it, at the same moment; perhaps. A store on a file system, whose directory
/// another node has just emptied, says that there is no such bucket.
pub(super) fn may_be_conflict<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    status(error) == Some(409) || error.code() == Some("NoSuchBucket")
}

/// What a failed request means for the caller: the store is away, or refuses what will not get better by itself.
pub(super) fn failed<E>(what: &str, error: &SdkError<E>) -> PortError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let message = format!("S3: {what}: {}", cause(error));
    if is_away(error) {
        PortError::Unavailable(message)
    } else {
        PortError::Broken(message)
    }
}

/// The sentence for the operator at start.
pub(super) fn cannot_open<E>(settings: &Settings, error: &SdkError<E>) -> PortError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let place = settings.place();
    let cause = cause(error);
    match authorities::obstacle(error) {
        Some(Obstacle::Certificate) => {
            return PortError::Broken(format!(
                "S3: {place} is not trusted ({cause}): name who signed its certificate in `s3.ca_file`, and in \
                 `s3.endpoint` a name that stands in it"
            ));
        }
        Some(Obstacle::Plain) => {
            return PortError::Broken(format!(
                "S3: {place} has no TLS ({cause}): begin `s3.endpoint` with http://"
            ));
        }
        None => {}
    }
    if is_away(error) {
        let advice = match place.starts_with("http://") {
            true => "; if it wants TLS, begin `s3.endpoint` with https://",
            false => "; see the section `s3`",
        };
        return PortError::Unavailable(format!("S3: {place} cannot be reached: {cause}{advice}"));
    }
    let bucket = &settings.bucket;
    let advice = match error.code() {
        Some("NoSuchBucket") => "make the bucket, or correct `s3.bucket`",
        // The last is versitygw's.
        Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "XAdminUserNotFound") => {
            "correct `s3.access_key` and `s3.secret_key`"
        }
        Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            "correct `s3.region` and `s3.endpoint`"
        }
        _ if status(error) == Some(403) => "let these keys write, read, list and delete objects in it",
        _ => "correct the section `s3`",
    };
    PortError::Broken(format!(
        "S3: bucket {bucket} of {place} cannot be used ({cause}): {advice}"
    ))
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    Some(error.raw_response()?.status().as_u16())
}

fn is_away<E>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
        // Broken inside, restarting, asking to slow down, or at odds with another request.
        _ => status(error).is_some_and(|status| status >= 500 || status == 429 || status == 409),
    }
}

/// What the store said; where it said nothing, the chain of what went wrong on the way.
fn cause<E>(error: &SdkError<E>) -> String
where
    E: Error + ProvideErrorMetadata + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}, {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => match status(error) {
            Some(status) => format!("status {status}"),
            None => chain(error),
        },
    }
}

fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        words.push_str(": ");
        words.push_str(&error.to_string());
        next = error.source();
    }
    words
}
