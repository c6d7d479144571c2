//! Buckets, which no adapter makes.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use tokio::sync::OnceCell;

use super::{S3_KEYS, fresh};

pub async fn make_bucket(endpoint: &str, bucket: &str) {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(S3_KEYS.0, S3_KEYS.1, None, None, "test"))
        .force_path_style(true)
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let made = Client::from_conf(config).create_bucket().bucket(bucket).send().await;
    made.expect("the bucket is made");
}

/// One bucket for all who have a prefix of their own.
pub async fn bucket(endpoint: &str) -> String {
    static BUCKET: OnceCell<String> = OnceCell::const_new();
    let make = async || {
        let name = fresh("shared");
        make_bucket(endpoint, &name).await;
        name
    };
    BUCKET.get_or_init(make).await.clone()
}
