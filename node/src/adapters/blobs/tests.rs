//! The adapter under its contract, and what only a directory can be asked.

use std::os::unix::fs::PermissionsExt;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::HeaderMap;
use hyper::body::Frame;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, RANGE};
use rookery_actors::protocol::{ErrorCode, Problem};
use rookery_actors::testkit::blobs::{Answer, BlobContract, Requests};

use super::*;
use crate::gateway::http::Query;

fn open(dir: &Path) -> DirBlobs {
    DirBlobs::open(&dir.join("blobs"), &dir.join("keys/blobs.key")).expect("the directory opens")
}

fn admitted(blobs: &DirBlobs, request: &Presigned) -> Result<Permit, Problem> {
    let (path, query) = request.url.split_once('?').expect("a signed url has a query");
    let key = path.strip_prefix("/blobs/").expect("the path of blobs");
    let query = Query::parse(query).expect("a well-formed query");
    blobs.admit(request.method, key, &|name| query.get(name))
}

fn headers(request: &Presigned) -> HeaderMap {
    let pairs = request.headers.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().expect("a header's name");
        (name, value.parse().expect("a header's value"))
    });
    pairs.collect()
}

#[async_trait]
impl Requests for DirBlobs {
    async fn make(&self, request: &Presigned, body: &[u8], range: Option<&str>) -> Answer {
        make(self, request, body, range).await.unwrap_or_else(|problem| Answer {
            status: problem.code.status(),
            ..Answer::default()
        })
    }
}

async fn make(blobs: &DirBlobs, request: &Presigned, body: &[u8], range: Option<&str>) -> Result<Answer, Problem> {
    let permit = admitted(blobs, request)?;
    let mut headers = headers(request);
    if request.method == "PUT" {
        headers.insert(CONTENT_LENGTH, body.len().into());
        let etag = blobs
            .receive(&permit, &headers, Full::new(Bytes::copy_from_slice(body)))
            .await?;
        return Ok(Answer {
            status: 200,
            etag: Some(etag),
            ..Answer::default()
        });
    }
    if let Some(range) = range {
        headers.insert(RANGE, range.parse().expect("a header's value"));
    }
    match blobs.serve(&permit, &headers).await? {
        Served::Unsatisfiable { .. } => Ok(Answer {
            status: 416,
            ..Answer::default()
        }),
        Served::Content(response) => {
            let (parts, content) = response.into_parts();
            let text = |name| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
            Ok(Answer {
                status: parts.status.as_u16(),
                etag: text(ETAG),
                content_type: text(CONTENT_TYPE),
                disposition: text(CONTENT_DISPOSITION),
                content_range: text(CONTENT_RANGE),
                body: content.collect().await.expect("the file is read").to_bytes().to_vec(),
            })
        }
    }
}

fn soon() -> Timestamp {
    Timestamp(Timestamp::now().0 + 600_000)
}

async fn put_url(blobs: &DirBlobs, key: FileId, size: u64) -> Presigned {
    let put = Put {
        key,
        size,
        media_type: "text/html".into(),
        sha256: None,
    };
    blobs.presign_put(&put, soon()).await.expect("presign")
}

async fn part_url(blobs: &DirBlobs, key: FileId, upload: &UploadId, number: u32, size: u64) -> Presigned {
    let part = PartPut {
        key,
        upload: upload.clone(),
        number,
        size,
    };
    blobs.presign_part(&part, soon()).await.expect("presign")
}

fn files_under(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_under(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn the_directory_keeps_the_contract_of_blobs() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let blobs = open(dir.path());
    let contract = BlobContract {
        blobs: &blobs,
        requests: &blobs,
        part_bytes: 1000,
    };
    contract.check().await;
    assert!(
        files_under(&dir.path().join("blobs/tmp")).is_empty(),
        "nothing is left behind"
    );
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let blobs = open(dir.path());
    let key = FileId::fresh();
    let permit = admitted(&blobs, &put_url(&blobs, key, 10).await).expect("a good url");
    let first = Ok(Frame::data(Bytes::from_static(b"hello")));
    let broken = StreamBody::new(stream::iter([first, Err(io::Error::other("the client went away"))]));
    let refused = blobs
        .receive(&permit, &HeaderMap::new(), broken)
        .await
        .expect_err("it broke off");
    assert_eq!(refused.code, ErrorCode::BadRequest);

    let frames = [b"hello", b"hello", b"more!"].map(|data| Ok::<_, io::Error>(Frame::data(Bytes::from_static(data))));
    let endless = StreamBody::new(stream::iter(frames));
    let refused = blobs
        .receive(&permit, &HeaderMap::new(), endless)
        .await
        .expect_err("it is too long");
    assert_eq!(refused.code, ErrorCode::TooLarge);

    assert_eq!(blobs.head(key).await.expect("head"), None);
    assert!(files_under(&dir.path().join("blobs")).is_empty());
}

#[tokio::test]
async fn the_latest_upload_of_a_url_has_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let blobs = open(dir.path());
    let key = FileId::fresh();
    let request = put_url(&blobs, key, 5).await;
    let permit = admitted(&blobs, &request).expect("a good url");
    let (send, receive) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, io::Error>>(1);
    let slow = stream::unfold(receive, |mut receive| async {
        receive.recv().await.map(|frame| (frame, receive))
    });
    let earlier = {
        let (blobs, permit) = (blobs.clone(), permit.clone());
        tokio::spawn(async move {
            blobs
                .receive(&permit, &HeaderMap::new(), StreamBody::new(Box::pin(slow)))
                .await
        })
    };
    send.send(Ok(Frame::data(Bytes::from_static(b"he"))))
        .await
        .expect("is read");
    // A second frame is taken only once the first is being written: the earlier upload has begun.
    send.send(Ok(Frame::data(Bytes::from_static(b"l"))))
        .await
        .expect("is read");
    assert_eq!(
        make(&blobs, &request, b"later", None).await.expect("an upload").status,
        200
    );
    send.send(Ok(Frame::data(Bytes::from_static(b"lo")))).await.ok();
    drop(send);
    let refused = earlier.await.expect("no panic").expect_err("it was overtaken");
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert_eq!(blobs.sha256(key).await.expect("sha256").map(|_| ()), Some(()));
    assert!(files_under(&dir.path().join("blobs/tmp")).is_empty());
}

#[tokio::test]
async fn another_content_type_than_the_signed_one_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let blobs = open(dir.path());
    let mut request = put_url(&blobs, FileId::fresh(), 5).await;
    request.headers = vec![("content-type".into(), "image/png".into())];
    let refused = make(&blobs, &request, b"hello", None).await.expect_err("another type");
    assert_eq!(refused.code, ErrorCode::Forbidden);
    let with_charset = ("content-type".to_owned(), "Text/HTML;charset=UTF-8".to_owned());
    for headers in [vec![with_charset], Vec::new()] {
        let mut request = put_url(&blobs, FileId::fresh(), 5).await;
        request.headers = headers;
        let answer = make(&blobs, &request, b"hello", None).await.expect("an upload");
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn what_was_uploaded_and_signed_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (key, large) = (FileId::fresh(), FileId::fresh());
    let before = open(dir.path());
    let whole = put_url(&before, key, 5).await;
    make(&before, &whole, b"hello", None).await.expect("an upload");
    let upload = before.begin(large, "text/plain").await.expect("begin");
    let second_url = part_url(&before, large, &upload, 2, 3).await;
    let first_url = part_url(&before, large, &upload, 1, 3).await;
    let etag = |answer: Answer| answer.etag.expect("an etag");
    let second = etag(make(&before, &second_url, b"def", None).await.expect("a part"));
    drop(before);

    let after = open(dir.path());
    assert_eq!(after.head(key).await.expect("head").expect("is there").size, 5);
    let first = etag(
        make(&after, &first_url, b"abc", None)
            .await
            .expect("a part, by a url of before"),
    );
    let parts = [(1, first), (2, format!("\"{second}\""))].map(|(number, etag)| Part { number, etag });
    assert_eq!(
        after.complete(large, &upload, &parts).await.expect("complete"),
        Assembled::Done
    );
    assert_eq!(after.head(large).await.expect("head").expect("is there").size, 6);
    assert_eq!(
        after.complete(large, &upload, &parts).await.expect("complete"),
        Assembled::NoUpload
    );
    assert!(files_under(&dir.path().join("blobs/uploads")).is_empty());
}

#[tokio::test]
async fn abandoned_uploads_are_swept_and_contents_stay() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let blobs = open(dir.path());
    let (key, large) = (FileId::fresh(), FileId::fresh());
    make(&blobs, &put_url(&blobs, key, 5).await, b"hello", None)
        .await
        .expect("an upload");
    let upload = blobs.begin(large, "text/plain").await.expect("begin");
    let part = part_url(&blobs, large, &upload, 1, 3).await;
    make(&blobs, &part, b"abc", None).await.expect("a part");
    std::fs::write(dir.path().join("blobs/tmp/left-by-a-crash"), b"half").expect("write");

    assert_eq!(
        blobs
            .sweep(Timestamp(Timestamp::now().0 - 60_000))
            .await
            .expect("sweep"),
        0
    );
    assert_eq!(
        blobs
            .sweep(Timestamp(Timestamp::now().0 + 60_000))
            .await
            .expect("sweep"),
        2
    );
    assert_eq!(files_under(&dir.path().join("blobs")).len(), 1, "the content alone");
    assert!(blobs.head(key).await.expect("head").is_some());
}

#[tokio::test]
async fn everything_is_its_owners_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let blobs = open(dir.path());
    make(&blobs, &put_url(&blobs, FileId::fresh(), 5).await, b"hello", None)
        .await
        .expect("an upload");
    let content = files_under(&dir.path().join("blobs")).remove(0);
    let mode = |path: &Path| std::fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&content), 0o600);
    let above = content.ancestors().skip(1).take(3);
    assert!(above.into_iter().all(|dir| mode(dir) == 0o700));
}

#[tokio::test]
async fn active_content_is_never_shown_in_place() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let blobs = open(dir.path());
    let key = FileId::fresh();
    make(&blobs, &put_url(&blobs, key, 5).await, b"hello", None)
        .await
        .expect("an upload");
    let get = Get {
        key,
        name: "a.html".into(),
        media_type: "text/html".into(),
    };
    let request = blobs.presign_get(&get, soon()).await.expect("presign");
    let permit = admitted(&blobs, &request).expect("a good url");
    let Served::Content(response) = blobs.serve(&permit, &HeaderMap::new()).await.expect("is there") else {
        panic!("no range was asked for");
    };
    let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
    assert!(header("content-disposition").starts_with("attachment;"));
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
    let mut again = HeaderMap::new();
    again.insert("if-none-match", header("etag").parse().expect("a header's value"));
    let Served::Content(unchanged) = blobs.serve(&permit, &again).await.expect("is there") else {
        panic!("no range was asked for");
    };
    assert_eq!(unchanged.status(), 304);
    let mut other = HeaderMap::new();
    other.insert("range", "bytes=0-1".parse().expect("a header's value"));
    other.insert("if-range", "\"another\"".parse().expect("a header's value"));
    let Served::Content(whole) = blobs.serve(&permit, &other).await.expect("is there") else {
        panic!("the range does not count");
    };
    assert_eq!(whole.status(), 200);
}
