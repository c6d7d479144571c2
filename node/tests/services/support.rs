//! Where the services are, and names that no other test uses.

mod bucket;
mod service;
mod shared;

pub use bucket::{make_bucket, make_bucket_over_tls};
pub use service::Service;
pub use shared::{S3_KEYS, fresh, kafka, mongodb, redis, s3};
