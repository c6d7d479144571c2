//! The contract of [`Blobs`], as a test that every adapter passes. Signed requests are made as a client would make them.

use async_trait::async_trait;

use crate::id::FileId;
use crate::ports::blobs::{Assembled, Blobs, Get, Head, Part, PartPut, Presigned, Put, UploadId};
use crate::time::Timestamp;

/// Makes signed requests: an HTTP client of the store under test.
#[async_trait]
pub trait Requests: Send + Sync {
    /// Sends the request with these bytes (none for a `GET`), all its headers and, where given, a `Range`.
    async fn make(&self, request: &Presigned, body: &[u8], range: Option<&str>) -> Answer;
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub etag: Option<String>,
    pub content_type: Option<String>,
    pub disposition: Option<String>,
    pub content_range: Option<String>,
}

impl Answer {
    fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The suite: an adapter, and how to reach it.
pub struct BlobContract<'c> {
    pub blobs: &'c dyn Blobs,
    pub requests: &'c dyn Requests,
    /// The smallest part the store takes (but for the last): 5 MiB on S3.
    pub part_bytes: usize,
}

const TYPE: &str = "text/plain";

fn soon() -> Timestamp {
    Timestamp(Timestamp::now().0 + 600_000)
}

impl BlobContract<'_> {
    /// Holds the adapter to every promise of the port.
    pub async fn check(&self) {
        self.what_was_put_is_read_back().await;
        self.ranges_are_served().await;
        self.the_size_is_exact().await;
        self.a_key_is_written_once().await;
        self.a_changed_url_is_refused().await;
        self.an_expired_url_is_refused().await;
        self.parts_may_come_in_any_order_and_again().await;
        self.a_wrong_part_is_named().await;
        self.an_aborted_upload_is_gone().await;
        self.a_deleted_content_is_gone().await;
    }

    async fn put(&self, key: FileId, declared: u64, body: &[u8]) -> Answer {
        let put = Put {
            key,
            size: declared,
            media_type: TYPE.into(),
            sha256: None,
        };
        let request = self.blobs.presign_put(&put, soon()).await.expect("presign a put");
        assert_eq!(request.method, "PUT");
        self.requests.make(&request, body, None).await
    }

    async fn settle(&self, key: FileId) -> Option<Head> {
        self.blobs.settle(key).await.expect("settle")
    }

    async fn stored(&self, body: &[u8]) -> FileId {
        let key = FileId::fresh();
        assert!(self.put(key, body.len() as u64, body).await.succeeded());
        let settled = self.settle(key).await.expect("something was put");
        assert_eq!(settled.size, body.len() as u64);
        key
    }

    async fn get(&self, key: FileId, range: Option<&str>) -> Answer {
        let get = Get {
            key,
            name: "a \"name\".txt".into(),
            media_type: TYPE.into(),
        };
        let request = self.blobs.presign_get(&get, soon()).await.expect("presign a get");
        assert_eq!(request.method, "GET");
        self.requests.make(&request, b"", range).await
    }

    async fn part(&self, key: FileId, upload: &UploadId, number: u32, body: &[u8]) -> Part {
        let answer = self.put_part(key, upload, number, body).await;
        assert!(answer.succeeded(), "{answer:?}");
        let etag = answer.etag.expect("a part has an etag");
        Part { number, etag }
    }

    async fn put_part(&self, key: FileId, upload: &UploadId, number: u32, body: &[u8]) -> Answer {
        let part = PartPut {
            key,
            upload: upload.clone(),
            number,
            size: body.len() as u64,
        };
        let request = self.blobs.presign_part(&part, soon()).await.expect("presign a part");
        self.requests.make(&request, body, None).await
    }

    async fn what_was_put_is_read_back(&self) {
        let large = content(300_000, 1);
        for body in [&b""[..], b"hello", &large] {
            let key = self.stored(body).await;
            let answer = self.get(key, None).await;
            assert_eq!((answer.status, &answer.body[..]), (200, body));
            assert_eq!(answer.content_type.as_deref(), Some(TYPE));
            let disposition = answer.disposition.expect("a disposition");
            assert!(disposition.starts_with("attachment"), "{disposition}");
            let head = self.blobs.head(key).await.expect("head").expect("is there");
            assert_eq!(head.size, body.len() as u64);
        }
        let hello = self.stored(b"hello").await;
        let sum = self.blobs.sha256(hello).await.expect("sha256").expect("is there");
        assert_eq!(sum[..4], [0x2c, 0xf2, 0x4d, 0xba], "of hello, as everybody knows it");
        let nothing = FileId::fresh();
        assert_eq!(self.get(nothing, None).await.status, 404);
        assert_eq!(self.blobs.head(nothing).await.expect("head"), None);
        assert_eq!(self.blobs.sha256(nothing).await.expect("sha256"), None);
    }

    async fn ranges_are_served(&self) {
        let body = content(300_000, 2);
        let key = self.stored(&body).await;
        for (range, first, end) in [
            ("bytes=0-0", 0, 1),
            ("bytes=100000-250000", 100_000, 250_001),
            ("bytes=299990-", 299_990, 300_000),
            ("bytes=-7", 299_993, 300_000),
            ("bytes=10-9999999", 10, 300_000),
        ] {
            let answer = self.get(key, Some(range)).await;
            assert_eq!(answer.status, 206, "{range}");
            assert!(answer.body == body[first..end], "{range}");
            let expected = format!("bytes {first}-{}/300000", end - 1);
            assert_eq!(answer.content_range, Some(expected));
        }
        assert_eq!(self.get(key, Some("bytes=300000-")).await.status, 416);
    }

    async fn the_size_is_exact(&self) {
        for (declared, body) in [(4, &b"hello"[..]), (6, b"hello"), (0, b"x"), (1, b"")] {
            let key = FileId::fresh();
            let answer = self.put(key, declared, body).await;
            assert!(
                (400..500).contains(&answer.status),
                "{declared} for {}: {answer:?}",
                body.len()
            );
            assert_eq!(self.settle(key).await, None);
            assert_eq!(self.blobs.head(key).await.expect("head"), None);
            assert_eq!(self.get(key, None).await.status, 404);
        }
    }

    /// A later upload may be refused or put aside: S3 knows signed URLs that write, but not everywhere ones that write once.
    async fn a_key_is_written_once(&self) {
        let key = self.stored(b"first").await;
        let before = self.blobs.head(key).await.expect("head");
        let later = self.put(key, 5, b"later").await;
        assert!(later.status < 500, "{later:?}");
        assert_eq!(self.get(key, None).await.body, b"first");
        assert_eq!(self.settle(key).await, before);
        assert_eq!(self.get(key, None).await.body, b"first");
    }

    async fn a_changed_url_is_refused(&self) {
        let (mine, others) = (self.stored(b"mine").await, self.stored(b"others").await);
        let get = Get {
            key: mine,
            name: "n".into(),
            media_type: TYPE.into(),
        };
        let good = self.blobs.presign_get(&get, soon()).await.expect("presign");
        let for_another_key = good.url.replace(&mine.to_string(), &others.to_string());
        // Ten characters before the end stands the middle of the signature.
        let middle = good.url.len() - 10;
        let swapped = if good.url.as_bytes()[middle] == b'0' { "1" } else { "0" };
        let mut with_another_signature = good.url.clone();
        with_another_signature.replace_range(middle..=middle, swapped);
        for url in [for_another_key, with_another_signature] {
            let request = Presigned { url, ..good.clone() };
            assert_eq!(self.requests.make(&request, b"", None).await.status, 403);
        }
        let as_put = Presigned {
            method: "PUT",
            ..good.clone()
        };
        assert_eq!(self.requests.make(&as_put, b"", None).await.status, 403);
        assert_eq!(self.requests.make(&good, b"", None).await.body, b"mine");
    }

    async fn an_expired_url_is_refused(&self) {
        let key = self.stored(b"hello").await;
        let get = Get {
            key,
            name: "n".into(),
            media_type: TYPE.into(),
        };
        let past = Timestamp(Timestamp::now().0 - 2_000);
        let request = self.blobs.presign_get(&get, past).await.expect("presign");
        assert_eq!(self.requests.make(&request, b"", None).await.status, 403);
    }

    async fn parts_may_come_in_any_order_and_again(&self) {
        let key = FileId::fresh();
        let (one, two, three) = (content(self.part_bytes, 3), content(self.part_bytes, 4), content(11, 5));
        let upload = self.blobs.begin(key, TYPE).await.expect("begin");
        let third = self.part(key, &upload, 3, &three).await;
        self.part(key, &upload, 1, &two).await;
        let second = self.part(key, &upload, 2, &two).await;
        let first = self.part(key, &upload, 1, &one).await;
        assert_eq!(
            self.blobs.head(key).await.expect("head"),
            None,
            "nothing is there before it is whole"
        );
        let parts = [first, second, third];
        let done = self.blobs.complete(key, &upload, &parts).await.expect("complete");
        assert_eq!(done, Assembled::Done);
        let whole = [&one[..], &two, &three].concat();
        assert!(self.get(key, None).await.body == whole);
        let range = format!("bytes={}-{}", self.part_bytes - 5, self.part_bytes + 4);
        let across = self.get(key, Some(&range)).await;
        assert_eq!(
            across.body,
            whole[self.part_bytes - 5..self.part_bytes + 5],
            "a range across parts"
        );
    }

    async fn a_wrong_part_is_named(&self) {
        let key = FileId::fresh();
        let upload = self.blobs.begin(key, TYPE).await.expect("begin");
        let one = self.part(key, &upload, 1, &content(self.part_bytes, 6)).await;
        let missing = Part {
            number: 2,
            etag: one.etag.clone(),
        };
        let parts = [one.clone(), missing];
        let outcome = self.blobs.complete(key, &upload, &parts).await.expect("complete");
        assert_eq!(outcome, Assembled::BadPart(2));
        let two = self.part(key, &upload, 2, b"the rest").await;
        let stale = Part {
            etag: two.etag.clone(),
            ..one.clone()
        };
        let outcome = self
            .blobs
            .complete(key, &upload, &[stale, two.clone()])
            .await
            .expect("complete");
        assert_eq!(outcome, Assembled::BadPart(1));
        assert_eq!(self.blobs.head(key).await.expect("head"), None);
        let outcome = self.blobs.complete(key, &upload, &[one, two]).await.expect("complete");
        assert_eq!(outcome, Assembled::Done, "the upload went on");
    }

    async fn an_aborted_upload_is_gone(&self) {
        let key = FileId::fresh();
        let upload = self.blobs.begin(key, TYPE).await.expect("begin");
        let one = self.part(key, &upload, 1, b"part").await;
        self.blobs.abort(key, &upload).await.expect("abort");
        self.blobs.abort(key, &upload).await.expect("a second time");
        let outcome = self.blobs.complete(key, &upload, &[one]).await.expect("complete");
        assert_eq!(outcome, Assembled::NoUpload);
        assert_eq!(self.put_part(key, &upload, 2, b"late").await.status, 404);
        assert_eq!(self.blobs.head(key).await.expect("head"), None);
    }

    async fn a_deleted_content_is_gone(&self) {
        let key = self.stored(b"hello").await;
        self.blobs.delete(key).await.expect("delete");
        self.blobs.delete(key).await.expect("a second time");
        assert_eq!(self.get(key, None).await.status, 404);
        assert_eq!(self.blobs.head(key).await.expect("head"), None);
        assert_eq!(self.settle(key).await, None, "nothing comes back");
        assert!(self.put(key, 5, b"again").await.succeeded(), "the key is free again");
        self.settle(key).await.expect("something was put");
        assert_eq!(self.get(key, None).await.body, b"again");
    }
}

/// Bytes that tell where they stand.
fn content(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ seed)
        .collect()
}
