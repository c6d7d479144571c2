//! Buckets, which no adapter makes.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, SharedHttpClient};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use tokio::sync::OnceCell;

use super::{S3_KEYS, fresh};

pub async fn make_bucket(endpoint: &str, bucket: &str) {
    make(endpoint, bucket, Builder::new().build_http()).await;
}

/// On a store whose certificate this authority signed.
pub async fn make_bucket_over_tls(endpoint: &str, bucket: &str, authority: &str) {
    let trusted = TrustStore::empty().with_pem_certificate(authority);
    let context = TlsContext::builder().with_trust_store(trusted).build().unwrap();
    let provider = Provider::Rustls(CryptoMode::Ring);
    let client = Builder::new().tls_provider(provider).tls_context(context).build_https();
    make(endpoint, bucket, client).await;
}

async fn make(endpoint: &str, bucket: &str, client: SharedHttpClient) {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(S3_KEYS.0, S3_KEYS.1, None, None, "test"))
        .force_path_style(true)
        .endpoint_url(endpoint)
        .http_client(client)
        .build();
    let made = Client::from_conf(config).create_bucket().bucket(bucket).send().await;
    made.expect("the bucket is made");
}

/// One bucket for all who have a prefix of their own.
pub async fn bucket(endpoint: &str) -> String {
    static BUCKET: OnceCell<String> = OnceCell::const_new();
    let made = async || {
        let name = fresh("shared");
        make_bucket(endpoint, &name).await;
        name
    };
    BUCKET.get_or_init(made).await.clone()
}
