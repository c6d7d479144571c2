//! Routes under `/api/files`, and `/blobs` where this node itself holds the contents.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_RANGE, ETAG, LOCATION};
use hyper::{Method, StatusCode};
use rookery_actors::id::FileId;
use rookery_actors::ports::blobs::{Part, Presigned};
use rookery_actors::protocol::{ErrorCode, Problem};
use rookery_actors::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::base;
use crate::adapters::blobs::{DirBlobs, Permit, Served};
use crate::app::App;
use crate::files::{Created, Download, Upload};
use crate::gateway::http::{Call, Failure, Reply};
use crate::gateway::router::Router;

pub use crate::files::photo_url;

/// Room for a name, a type and a checksum, every character of them escaped.
const ANNOUNCEMENT_BYTES: usize = 8 * 1024;
/// Room for the `ETag`s of as many parts as an upload can have.
const COMPLETION_BYTES: usize = 512 * 1024;
/// How long a browser may follow a photo's path without asking again, in seconds; well within the life of what it leads to.
const PHOTO_CACHE: &str = "private, max-age=300";

pub fn register(router: &mut Router) {
    router
        .route(Method::POST, "/api/files", create)
        .route(Method::GET, "/api/files/{id}", read)
        .route(Method::DELETE, "/api/files/{id}", delete)
        .route(Method::POST, "/api/files/{id}/complete", complete)
        .route(Method::GET, "/api/files/{id}/photo", photo)
        .route(Method::PUT, "/blobs/{key}", upload)
        .route(Method::GET, "/blobs/{key}", download);
}

#[derive(Serialize)]
struct CreatedView {
    id: FileId,
    upload: UploadView,
}

#[derive(Serialize)]
struct UploadView {
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    headers: BTreeMap<String, String>,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartView>,
}

#[derive(Serialize)]
struct PartView {
    number: u32,
    size: u64,
    url: String,
}

#[derive(Serialize)]
struct FileView {
    id: FileId,
    name: String,
    #[serde(rename = "type")]
    media_type: String,
    size: u64,
}

#[derive(Serialize)]
struct DownloadView {
    url: String,
    expires_at: Timestamp,
    #[serde(flatten)]
    file: FileView,
}

#[derive(Default, Deserialize)]
struct Completion {
    parts: Option<Vec<UploadedPart>>,
}

#[derive(Deserialize)]
struct UploadedPart {
    number: u32,
    etag: String,
}

async fn create(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let new = call.json(ANNOUNCEMENT_BYTES).await?;
    let created = app.files.create(caller.user, new).await?;
    let base = base(&app, &call);
    let reply = Reply::created(&view_created(created, &base));
    Ok(reply.with_header(CACHE_CONTROL, "no-store"))
}

async fn complete(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let id = call.id("id")?;
    let completion: Completion = call.json_if_any(COMPLETION_BYTES).await?.unwrap_or_default();
    let parts = completion.parts.map(|parts| {
        let part = |part: UploadedPart| Part {
            number: part.number,
            etag: part.etag,
        };
        parts.into_iter().map(part).collect()
    });
    let file = app.files.complete(caller.user, id, parts).await?;
    Ok(Reply::ok(&FileView {
        id,
        name: file.name,
        media_type: file.media_type,
        size: file.size,
    }))
}

async fn read(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let Download { file, request } = app.files.download(caller.user, call.id("id")?).await?;
    let view = DownloadView {
        url: absolute(&base(&app, &call), request.url),
        expires_at: request.expires_at,
        file: FileView {
            id: file.id,
            name: file.name,
            media_type: file.media_type,
            size: file.size,
        },
    };
    Ok(Reply::ok(&view).with_header(CACHE_CONTROL, "no-store"))
}

async fn delete(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    app.files.delete(caller.user, call.id("id")?).await?;
    Ok(Reply::none())
}

async fn photo(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    app.caller(&call)?;
    let photo = app.files.photo(call.id("id")?).await?;
    let reply = Reply::empty(StatusCode::FOUND).with_header(LOCATION, photo.request.url);
    Ok(reply.with_header(CACHE_CONTROL, PHOTO_CACHE))
}

async fn upload(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let (blobs, permit) = signed(&app, &call, "PUT")?;
    let body = call.take_body();
    let etag = blobs.receive(&permit, &call.headers, body).await?;
    Ok(Reply::empty(StatusCode::OK).with_header(ETAG, format!("\"{etag}\"")))
}

async fn download(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let (blobs, permit) = signed(&app, &call, "GET")?;
    match blobs.serve(&permit, &call.headers).await? {
        Served::Content(response) => {
            let (parts, content) = response.into_parts();
            let mut reply = Reply::stream(parts.status, content);
            reply.headers_mut().extend(parts.headers);
            Ok(reply)
        }
        Served::Unsatisfiable { size } => {
            let problem = Problem::new(ErrorCode::BadRequest, format!("the range lies outside of {size} bytes"));
            Err(Failure::from(problem)
                .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
                .with_header(CONTENT_RANGE, format!("bytes */{size}")))
        }
    }
}

/// What a request to `/blobs` may do. Its signature is all it needs: no token, no account.
fn signed<'a>(app: &'a App, call: &Call, method: &str) -> Result<(&'a DirBlobs, Permit), Problem> {
    // Where an object store holds the contents there is no such path.
    let blobs = app.blobs.as_ref().ok_or_else(|| Problem::not_found("path"))?;
    let permit = blobs.admit(method, call.param("key"), &|name| call.query.get(name))?;
    Ok((blobs, permit))
}

/// A signed URL as a client can use it: one of this server's own lacks the server.
fn absolute(base: &str, url: String) -> String {
    if url.starts_with('/') {
        format!("{base}{url}")
    } else {
        url
    }
}

fn view_created(created: Created, base: &str) -> CreatedView {
    let headers = |request: &Presigned| request.headers.iter().cloned().collect();
    let upload = match created.upload {
        Upload::Whole(request) => UploadView {
            method: request.method,
            headers: headers(&request),
            expires_at: request.expires_at,
            url: Some(absolute(base, request.url)),
            parts: Vec::new(),
        },
        Upload::Parts(signed) => UploadView {
            method: "PUT",
            url: None,
            headers: signed.first().map(|(_, request)| headers(request)).unwrap_or_default(),
            expires_at: signed
                .first()
                .map_or(created.file.created_at, |(_, request)| request.expires_at),
            parts: signed
                .into_iter()
                .map(|(part, request)| PartView {
                    number: part.number,
                    size: part.size,
                    url: absolute(base, request.url),
                })
                .collect(),
        },
    };
    CreatedView {
        id: created.file.id,
        upload,
    }
}

#[cfg(test)]
mod tests {
    use rookery_actors::id::UserId;
    use rookery_actors::ports::blobs::{PartPut, UploadId};
    use rookery_actors::ports::files::{File, FileState};
    use serde_json::json;

    use super::*;

    fn file() -> File {
        File {
            id: FileId::fresh(),
            owner: UserId::fresh(),
            name: "a".into(),
            media_type: "a/b".into(),
            size: 5,
            sha256: None,
            state: FileState::Pending,
            upload: None,
            photo: None,
            created_at: Timestamp(0),
        }
    }

    fn request(url: &str) -> Presigned {
        Presigned {
            method: "PUT",
            url: url.into(),
            headers: vec![("content-type".into(), "a/b".into())],
            expires_at: Timestamp(0),
        }
    }

    fn shown(upload: Upload) -> serde_json::Value {
        let created = Created { file: file(), upload };
        let view = view_created(created, "http://here:1");
        serde_json::to_value(view).expect("a view is JSON")["upload"].take()
    }

    #[test]
    fn a_small_upload_is_one_request() {
        let expected = json!({
            "method": "PUT", "url": "http://here:1/blobs/x?sig=y", "headers": {"content-type": "a/b"},
            "expires_at": "1970-01-01T00:00:00.000Z",
        });
        assert_eq!(shown(Upload::Whole(request("/blobs/x?sig=y"))), expected);
        let elsewhere = shown(Upload::Whole(request("https://s3.example/x")));
        assert_eq!(elsewhere["url"], "https://s3.example/x");
    }

    #[test]
    fn a_large_upload_names_its_parts() {
        let part = |number| PartPut {
            key: FileId::fresh(),
            upload: UploadId("u".into()),
            number,
            size: 7,
        };
        let upload = shown(Upload::Parts(vec![(part(1), request("/1")), (part(2), request("/2"))]));
        let expected = json!([
            {"number": 1, "size": 7, "url": "http://here:1/1"},
            {"number": 2, "size": 7, "url": "http://here:1/2"},
        ]);
        assert_eq!(upload["parts"], expected);
        assert!(upload.get("url").is_none());
    }
}
