//! The clients: one that asks the store, and one that only signs, for the address under which people reach it.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rookery_actors::ports::{PortError, PortResult};

use super::Settings;
use super::clock::Clock;
use crate::adapters::authorities;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Until a request is answered, not until its body is read; and with its repetitions, as somebody waits for the outcome.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for what the store does with whole contents: copying 100 MB, putting parts together.
const LONG_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a request is made before its failure is told.
const ATTEMPTS: u32 = 3;

pub(super) fn client(settings: &Settings, clock: &Clock) -> PortResult<Client> {
    let config = config(settings, clock, &settings.endpoint)?;
    Ok(Client::from_conf(config.http_client(transport(settings)?).build()))
}

pub(super) fn signer(settings: &Settings, clock: &Clock) -> PortResult<Client> {
    let endpoint = match settings.public_endpoint.is_empty() {
        true => &settings.endpoint,
        false => &settings.public_endpoint,
    };
    Ok(Client::from_conf(config(settings, clock, endpoint)?.build()))
}

/// What a request is made with that takes the store long.
pub(super) fn long() -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(LONG_ATTEMPT_TIMEOUT)
        .operation_timeout(ATTEMPTS * LONG_ATTEMPT_TIMEOUT)
        .build();
    aws_sdk_s3::Config::builder().timeout_config(timeouts)
}

fn config(settings: &Settings, clock: &Clock, endpoint: &str) -> PortResult<Builder> {
    let secret = settings.read_secret_key().map_err(PortError::Broken)?;
    let token = Some(settings.session_token.clone()).filter(|token| !token.is_empty());
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(Credentials::new(
            &settings.access_key,
            secret,
            token,
            None,
            "configuration",
        ))
        .force_path_style(settings.path_style)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .retry_classifier(clock.clone())
        .time_source(clock.clone())
        // The newer checksums, unasked for, are refused by older stores.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    Ok(match endpoint {
        "" => config,
        _ => config.endpoint_url(endpoint),
    })
}

/// HTTP with or without TLS, as the endpoint says.
fn transport(settings: &Settings) -> PortResult<SharedHttpClient> {
    let mut trusted = TrustStore::default();
    if !settings.ca_file.as_os_str().is_empty() {
        let pem = authorities::read("s3.ca_file", &settings.ca_file);
        trusted = TrustStore::empty().with_pem_certificate(pem.map_err(PortError::Broken)?);
    }
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|error| PortError::Broken(format!("S3: TLS cannot be set up: {error}")))?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https())
}
