//! The services, shared or a test's own, as all tests on them know them.

#[path = "../services/support/bucket.rs"]
mod bucket;
#[path = "../services/support/service.rs"]
mod service;
#[path = "../services/support/shared.rs"]
mod shared;

pub use bucket::{bucket, make_bucket};
pub use service::Service;
pub use shared::{S3_KEYS, fresh, kafka, mongodb, redis, s3};
