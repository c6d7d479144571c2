//! The shared services, as all tests on them know them.

#[path = "../services/support/bucket.rs"]
mod bucket;
#[path = "../services/support/shared.rs"]
mod shared;

pub use bucket::bucket;
pub use shared::{S3_KEYS, fresh, kafka, mongodb, redis, s3};
