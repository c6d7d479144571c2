//! The store of contents, and whoever uploads and downloads with what it signed.

use async_trait::async_trait;
use rookery_actors::ports::blobs::Presigned;
use rookery_actors::testkit::blobs::{Answer, BlobContract, Requests};
use rookery_node::adapters::s3::{S3Blobs, Settings};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::*;
use crate::s3::{PART_BYTES, exchange, settings};
use crate::support::{Service, make_bucket_over_tls};

/// An HTTP client that trusts one authority.
struct Trusting(TlsConnector);

#[async_trait]
impl Requests for Trusting {
    async fn make(&self, request: &Presigned, body: &[u8], range: Option<&str>) -> Answer {
        let rest = request.url.strip_prefix("https://").expect("HTTP over TLS");
        let (host, _) = rest.split_once('/').expect("a path");
        let socket = TcpStream::connect(host).await.expect("the store listens");
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let socket = self.0.connect(name, socket).await.expect("the store is trusted");
        exchange(socket, rest, request, body, range).await
    }
}

async fn start(authority: &Authority) -> (Service, Settings) {
    let (certificate, key) = authority.certificate();
    let service = Service::with("s3", &[("cert.pem", &certificate), ("key.pem", &key)]).await;
    let good = Settings {
        ca_file: authority.file(),
        ..settings(service.address(), "files".into())
    };
    make_bucket_over_tls(&good.endpoint, &good.bucket, &authority.issuer.pem()).await;
    (service, good)
}

async fn open(settings: Settings) -> PortResult<S3Blobs> {
    settings.check().map_err(PortError::Broken)?;
    S3Blobs::open(&settings).await
}

#[tokio::test]
async fn a_bucket_keeps_the_contract_of_blobs_over_tls() {
    let authority = Authority::new();
    let (_service, good) = start(&authority).await;
    let blobs = open(good).await.expect("the bucket opens");
    let contract = BlobContract {
        blobs: &blobs,
        requests: &Trusting(authority.connector()),
        part_bytes: PART_BYTES,
    };
    contract.check().await;
}

#[tokio::test]
async fn what_does_not_fit_is_said() {
    let authority = Authority::new();
    let (_service, good) = start(&authority).await;
    let place = good.endpoint.clone();
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = good.clone();
        change(&mut settings);
        open(settings)
    };
    let other = Authority::new();
    let untrusted = [&*place, "invalid peer certificate", "s3.ca_file"];
    is_for_the_operator(&refused(with(&|it| it.ca_file = other.file()), &untrusted).await);
    is_for_the_operator(&refused(with(&|it| it.ca_file = PathBuf::new()), &untrusted).await);
    let empty = with(&|it| it.ca_file = other.no_certificate());
    is_for_the_operator(&refused(empty, &["s3.ca_file", "holds no certificate"]).await);
    let damaged = with(&|it| {
        it.ca_file = other.directory.path().join("damaged.pem");
        std::fs::write(&it.ca_file, "-----BEGIN CERTIFICATE-----\n%\n").unwrap();
    });
    is_for_the_operator(&refused(damaged, &["s3.ca_file", "cannot be used"]).await);
    let wrong = with(&|it| it.secret_key = SECRET.into());
    is_for_the_operator(&refused(wrong, &[&*place, "s3.secret_key"]).await);
    let plain = |it: &mut Settings| it.endpoint = place.replace("https://", "http://");
    refused(with(&plain), &["s3.ca_file", "https://"]).await;
    let plain = with(&|it| {
        plain(it);
        it.ca_file = PathBuf::new();
    });
    refused(plain, &[&place[5..], "begin `s3.endpoint` with https://"]).await;
}

#[tokio::test]
async fn a_store_without_tls_is_said() {
    let authority = Authority::new();
    let service = Service::start("s3").await;
    let asked = Settings {
        ca_file: authority.file(),
        ..settings(service.address().replace("http://", "https://"), "files".into())
    };
    is_for_the_operator(&refused(open(asked), &["has no TLS", "s3.endpoint"]).await);
}
