//! Promise: blobs in a bucket keep every clause of their port, and what is wrong with the store is said at start.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use rookery_actors::id::FileId;
use rookery_actors::ports::PortError;
use rookery_actors::ports::blobs::{Blobs, Get, PartPut, Presigned, Put};
use rookery_actors::testkit::blobs::{Answer, BlobContract, Requests};
use rookery_actors::time::Timestamp;
use rookery_node::adapters::s3::{S3Blobs, Settings};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::support::{S3_KEYS, Service, fresh, make_bucket, s3};

/// The least that S3 takes for a part that is not the last.
pub const PART_BYTES: usize = 5 * 1024 * 1024;

/// Any HTTP client.
struct Plain;

#[async_trait]
impl Requests for Plain {
    async fn make(&self, request: &Presigned, body: &[u8], range: Option<&str>) -> Answer {
        let rest = request.url.strip_prefix("http://").expect("plain HTTP");
        let (host, _) = rest.split_once('/').expect("a path");
        let socket = TcpStream::connect(host).await.expect("the store listens");
        exchange(socket, rest, request, body, range).await
    }
}

/// Makes one request of the store. `rest` is what its URL has after the scheme.
pub async fn exchange(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    rest: &str,
    request: &Presigned,
    body: &[u8],
    range: Option<&str>,
) -> Answer {
    let (host, path) = rest.split_once('/').expect("a path");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut built = Request::builder()
        .method(request.method)
        .uri(format!("/{path}"))
        .header("host", host);
    for (name, value) in &request.headers {
        built = built.header(name, value);
    }
    if let Some(range) = range {
        built = built.header("range", range);
    }
    let body = Full::new(Bytes::copy_from_slice(body));
    let response = sender.send_request(built.body(body).unwrap()).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let text = |name| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
    Answer {
        status: parts.status.as_u16(),
        etag: text("etag"),
        content_type: text("content-type"),
        disposition: text("content-disposition"),
        content_range: text("content-range"),
        // A refused upload may be cut off before its answer is read to the end.
        body: body
            .collect()
            .await
            .map(|body| body.to_bytes().to_vec())
            .unwrap_or_default(),
    }
}

pub fn settings(endpoint: String, bucket: String) -> Settings {
    Settings {
        endpoint,
        bucket,
        prefix: "rookery/".into(),
        access_key: S3_KEYS.0.into(),
        secret_key: S3_KEYS.1.into(),
        ..Settings::default()
    }
}

/// Settings for a fresh bucket on the shared server.
async fn bucket() -> Settings {
    let settings = settings(s3(), fresh("files"));
    make_bucket(&settings.endpoint, &settings.bucket).await;
    settings
}

async fn open(settings: &Settings) -> S3Blobs {
    S3Blobs::open(settings).await.expect("the bucket opens")
}

fn soon() -> Timestamp {
    Timestamp(Timestamp::now().0 + 600_000)
}

fn put(key: FileId, size: u64) -> Put {
    Put {
        key,
        size,
        media_type: "text/plain".into(),
        sha256: None,
    }
}

async fn upload(blobs: &S3Blobs, put: &Put, body: &[u8]) -> u16 {
    let request = blobs.presign_put(put, soon()).await.unwrap();
    Plain.make(&request, body, None).await.status
}

#[tokio::test]
async fn a_bucket_keeps_the_contract_of_blobs() {
    let blobs = open(&bucket().await).await;
    let contract = BlobContract {
        blobs: &blobs,
        requests: &Plain,
        part_bytes: PART_BYTES,
    };
    contract.check().await;
}

#[tokio::test]
async fn the_store_itself_refuses_another_type_and_another_sum() {
    let blobs = open(&bucket().await).await;
    let hello = ring::digest::digest(&ring::digest::SHA256, b"hello");
    let announced = Put {
        sha256: Some(hello.as_ref().try_into().unwrap()),
        ..put(FileId::fresh(), 5)
    };
    assert_eq!(upload(&blobs, &announced, b"jello").await, 400);
    assert_eq!(blobs.settle(announced.key).await.unwrap(), None);
    assert_eq!(upload(&blobs, &announced, b"hello").await, 200);
    assert_eq!(blobs.settle(announced.key).await.unwrap().unwrap().size, 5);

    let mut request = blobs.presign_put(&put(FileId::fresh(), 5), soon()).await.unwrap();
    for (name, value) in &mut request.headers {
        if name == "content-type" {
            "text/html".clone_into(value);
        }
    }
    assert_eq!(Plain.make(&request, b"hello", None).await.status, 403);
}

#[tokio::test]
async fn abandoned_uploads_are_swept_and_contents_stay() {
    let blobs = open(&bucket().await).await;
    let (kept, given_up, large) = (FileId::fresh(), FileId::fresh(), FileId::fresh());
    upload(&blobs, &put(kept, 5), b"hello").await;
    blobs.settle(kept).await.unwrap();
    upload(&blobs, &put(given_up, 5), b"hello").await;
    let begun = blobs.begin(large, "text/plain").await.unwrap();
    let earlier = Timestamp(Timestamp::now().0 - 60_000);
    assert_eq!(blobs.sweep(earlier).await.unwrap(), 0, "uploads under way are spared");
    let later = Timestamp(Timestamp::now().0 + 60_000);
    assert_eq!(blobs.sweep(later).await.unwrap(), 2);
    assert_eq!(blobs.settle(given_up).await.unwrap(), None);
    let part = PartPut {
        key: large,
        upload: begun,
        number: 1,
        size: 5,
    };
    let late = blobs.presign_part(&part, soon()).await.unwrap();
    assert_eq!(Plain.make(&late, b"hello", None).await.status, 404);
    assert!(blobs.head(kept).await.unwrap().is_some());
}

#[tokio::test]
async fn urls_are_signed_for_the_address_that_clients_reach() {
    let mut settings = bucket().await;
    settings.public_endpoint = "https://files.example.com".into();
    let blobs = open(&settings).await;
    let get = Get {
        key: FileId::fresh(),
        name: "a.txt".into(),
        media_type: "text/plain".into(),
    };
    let path_style = blobs.presign_get(&get, soon()).await.unwrap().url;
    let path = format!("https://files.example.com/{}/rookery/{}?", settings.bucket, get.key);
    assert!(path_style.starts_with(&path), "{path_style}");
    settings.path_style = false;
    settings.endpoint = "http://127.0.0.1:1".into();
    assert!(S3Blobs::open(&settings).await.is_err(), "nobody listens there");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_sentence() {
    let good = bucket().await;
    let refused = async |change: fn(&mut Settings), words: &[&str]| {
        let mut settings = good.clone();
        change(&mut settings);
        let error = S3Blobs::open(&settings).await.err().expect("refused");
        assert!(matches!(error, PortError::Broken(_)), "waiting does not help: {error}");
        for word in words {
            assert!(error.to_string().contains(word), "{error}");
        }
    };
    refused(|s| s.bucket = "nobody-made-it".into(), &["nobody-made-it", "s3.bucket"]).await;
    refused(|s| s.secret_key = "wrong".into(), &["s3.secret_key"]).await;
    refused(|s| s.access_key = "nobody".into(), &["s3.access_key"]).await;
    refused(|s| s.ca_file = "/nowhere.pem".into(), &["s3.ca_file", "/nowhere.pem"]).await;
}

#[tokio::test]
async fn a_store_that_is_away_is_unavailable_and_comes_back() {
    let service = Service::start("s3").await;
    let settings = settings(service.address(), "files".into());
    make_bucket(&settings.endpoint, &settings.bucket).await;
    let blobs = open(&settings).await;
    let key = FileId::fresh();
    upload(&blobs, &put(key, 5), b"hello").await;
    blobs.settle(key).await.unwrap();

    service.kill().await;
    assert!(matches!(blobs.head(key).await, Err(PortError::Unavailable(_))));
    let error = S3Blobs::open(&settings).await.err().expect("it is away");
    assert!(
        matches!(&error, PortError::Unavailable(text) if text.contains(&settings.endpoint)),
        "{error}"
    );

    service.start_again().await;
    assert_eq!(blobs.head(key).await.unwrap().unwrap().size, 5);
}
