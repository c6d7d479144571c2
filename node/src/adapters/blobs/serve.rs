//! Downloads: a content, or one range of it, streamed from its file.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};
use rookery_actors::protocol::{ErrorCode, Problem};
use rookery_actors::time::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt, ReadBuf};

use super::layout::etag;
use super::range::{Wanted, wanted};
use super::receive::logged;
use super::signature::{Lookup, Permit, Refused};
use super::{DirBlobs, failed, found, percent};

/// Bytes read from a file at once: large enough to be worth a thread's turn, small enough for many readers.
const CHUNK: usize = 128 * 1024;

/// A download's answer.
pub enum Served {
    Content(Box<Response<Content>>),
    /// The range lies outside a content of so many bytes.
    Unsatisfiable {
        size: u64,
    },
}

impl DirBlobs {
    /// What a signed request may do; `HEAD` is asked for as `GET`.
    pub fn admit(&self, method: &str, key: &str, query: Lookup<'_>) -> Result<Permit, Problem> {
        let checked = self.shared.signer.check(method, key, query, Timestamp::now());
        checked.map_err(|refused| {
            let why = match refused {
                Refused::Forged => "the signature of this URL is wrong",
                Refused::Expired => "this URL has expired; ask for a new one",
            };
            Problem::new(ErrorCode::Forbidden, why)
        })
    }

    /// Answers a signed download. For `HEAD` the caller leaves the body away.
    pub async fn serve(&self, permit: &Permit, headers: &HeaderMap) -> Result<Served, Problem> {
        let Permit::Get { key, name, media_type } = permit else {
            return Err(Problem::new(ErrorCode::BadRequest, "this URL is for uploads"));
        };
        let file = File::open(self.shared.layout.content(*key)).await;
        let file = found(file).map_err(|error| logged(failed("open a blob", &error)))?;
        let mut file = file.ok_or_else(|| Problem::not_found("file"))?;
        let metadata = file.metadata().await;
        let metadata = metadata.map_err(|error| logged(failed("look at a blob", &error)))?;
        let (size, etag) = (metadata.len(), format!("\"{}\"", etag(&metadata)));

        if text(headers, &IF_NONE_MATCH).is_some_and(|tags| names(tags, &etag)) {
            let unchanged = answer(StatusCode::NOT_MODIFIED, Content::none(), &etag);
            return Ok(Served::Content(unchanged.into()));
        }
        let range = text(headers, &RANGE).filter(|_| text(headers, &IF_RANGE).is_none_or(|tag| tag == etag));
        let (status, first, length) = match wanted(range, size) {
            Wanted::All => (StatusCode::OK, 0, size),
            Wanted::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
            Wanted::Unsatisfiable => return Ok(Served::Unsatisfiable { size }),
        };
        if first > 0 {
            let sought = file.seek(io::SeekFrom::Start(first)).await;
            sought.map_err(|error| logged(failed("seek in a blob", &error)))?;
        }
        let mut response = answer(status, Content::of(file, length), &etag);
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {first}-{}/{size}", first + length - 1);
            put(headers, CONTENT_RANGE, &range);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        put(headers, CONTENT_TYPE, media_type);
        put(headers, CONTENT_DISPOSITION, &disposition(name));
        Ok(Served::Content(response.into()))
    }
}

/// What every answer about a content has: it is never run, framed or guessed at, and belongs to one reader.
fn answer(status: StatusCode, content: Content, etag: &str) -> Response<Content> {
    let mut response = Response::new(content);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    put(headers, ETAG, etag);
    response
}

/// Sets a header, unless the value cannot be one.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Whether `If-None-Match` names that tag.
fn names(tags: &str, etag: &str) -> bool {
    tags.trim() == "*" || tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
}

/// `Content-Disposition` (RFC 6266): the name for old readers in plain letters, and as it is by RFC 8187. A name is never a
/// path, and never ends the header.
pub(in crate::adapters) fn disposition(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|char| {
            if char.is_control() || "/\\".contains(char) {
                '_'
            } else {
                char
            }
        })
        .collect();
    let plain: String = name
        .chars()
        .map(|char| match char {
            'A'..='Z' | 'a'..='z' | '0'..='9' | ' ' | '.' | '_' | '-' | '(' | ')' => char,
            _ => '_',
        })
        .collect();
    format!(
        "attachment; filename=\"{plain}\"; filename*=UTF-8''{}",
        percent::encode(&name)
    )
}

/// The body of a download: so many bytes of a file from where it stands.
pub struct Content {
    file: Option<File>,
    left: u64,
    buffer: BytesMut,
}

impl Content {
    fn none() -> Self {
        Self {
            file: None,
            left: 0,
            buffer: BytesMut::new(),
        }
    }

    fn of(mut file: File, length: u64) -> Self {
        file.set_max_buf_size(CHUNK);
        Self {
            file: Some(file),
            left: length,
            buffer: BytesMut::new(),
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let Some(file) = this.file.as_mut().filter(|_| this.left > 0) else {
            return Poll::Ready(None);
        };
        let most = CHUNK.min(usize::try_from(this.left).unwrap_or(CHUNK));
        this.buffer.resize(most, 0);
        let mut read = ReadBuf::new(&mut this.buffer);
        ready!(Pin::new(file).poll_read(cx, &mut read))?;
        let length = read.filled().len();
        if length == 0 {
            let short = io::Error::new(io::ErrorKind::UnexpectedEof, "a blob is shorter than it was");
            return Poll::Ready(Some(Err(short)));
        }
        this.left -= length as u64;
        metrics::counter!("node_blob_bytes_sent_total").increment(length as u64);
        Poll::Ready(Some(Ok(Frame::data(this.buffer.split_to(length).freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::{disposition, names};

    #[test]
    fn a_name_cannot_leave_its_header() {
        assert_eq!(
            disposition("../a\"b\r\nSet-Cookie: x=é.txt"),
            "attachment; filename=\".._a_b__Set-Cookie_ x__.txt\"; \
             filename*=UTF-8''.._a%22b__Set-Cookie%3A%20x%3D%C3%A9.txt"
        );
        assert_eq!(
            disposition("plain (1).txt"),
            "attachment; filename=\"plain (1).txt\"; filename*=UTF-8''plain%20%281%29.txt"
        );
    }

    #[test]
    fn an_etag_is_found_in_a_list() {
        assert!(names("\"x\", W/\"a\"", "\"a\""));
        assert!(names("*", "\"a\""));
        assert!(!names("\"x\"", "\"a\""));
    }
}
