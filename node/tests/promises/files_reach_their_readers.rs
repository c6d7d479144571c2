//! Files go straight to where they are kept, are checked before they count, and reach exactly those they were sent to.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::support::http::{Reply, at_url};
use crate::support::{Seed, Server, User, number, text};

const MIB: usize = 1024 * 1024;

fn hex_sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub async fn announce(user: &User, name: &str, media_type: &str, size: usize, sha256: Option<&str>) -> Value {
    let mut body = json!({"name": name, "type": media_type, "size": size});
    if let Some(sha256) = sha256 {
        body["sha256"] = sha256.into();
    }
    user.post("/api/files", body).await.is(201)
}

/// Does what an `upload` object says.
async fn put(upload: &Value, bytes: Vec<u8>) -> Reply {
    let headers = upload["headers"].as_object().cloned().unwrap_or_default();
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let method = upload["method"].as_str().unwrap_or("PUT");
    at_url(method, &text(&upload["url"]), &headers, bytes).await
}

async fn complete(user: &User, id: &str, body: Value) -> Reply {
    user.post(&format!("/api/files/{id}/complete"), body).await
}

/// Uploads a small file; answers its id.
pub async fn upload(user: &User, name: &str, media_type: &str, bytes: &[u8]) -> String {
    let file = announce(user, name, media_type, bytes.len(), Some(&hex_sha256(bytes))).await;
    put(&file["upload"], bytes.to_vec()).await.succeeds();
    let id = text(&file["id"]);
    complete(user, &id, json!({})).await.succeeds();
    id
}

async fn download(user: &User, id: &str) -> Reply {
    let file = user.get(&format!("/api/files/{id}")).await.is(200);
    at_url("GET", &text(&file["url"]), &[], "").await
}

async fn attach(user: &User, conversation: &str, id: &str, files: &[&str]) -> Reply {
    let message = json!({"to": {"conversation": conversation}, "id": id, "attachments": files});
    user.post("/api/messages", message).await
}

#[tokio::test]
async fn a_file_is_uploaded_sent_and_read_by_the_other_side() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let content = Seed::fixed(1).bytes(300_000);
    let announced = announce(&ada, "plän \"1\".pdf", "application/pdf", content.len(), None).await;
    assert_eq!(announced["upload"]["method"], "PUT");
    assert!(announced["upload"]["expires_at"].is_string());
    put(&announced["upload"], content.clone()).await.succeeds();
    let id = text(&announced["id"]);
    complete(&ada, &id, json!({})).await.succeeds();
    complete(&ada, &id, json!({})).await.succeeds();

    brian.get(&format!("/api/files/{id}")).await.refuses(404, "not_found");
    attach(&ada, &chat, "m1", &[&id]).await.is(201);
    let file = brian.get(&format!("/api/files/{id}")).await.is(200);
    assert_eq!(
        (&file["name"], &file["type"]),
        (&json!("plän \"1\".pdf"), &json!("application/pdf"))
    );
    assert_eq!(number(&file["size"]) as usize, content.len());
    assert!(file["expires_at"].is_string());
    let got = at_url("GET", &text(&file["url"]), &[], "").await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("content-type"), Some("application/pdf"));
    assert!(got.header("content-disposition").unwrap().starts_with("attachment"));
    assert!(got.body == content, "the same bytes come back");
    assert_eq!(brian.whole_history(&chat).await[0]["attachments"], json!([id]));
}

#[tokio::test]
async fn a_wrong_size_or_checksum_is_never_ready() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let right = hex_sha256(b"right");
    let wrong_sum = announce(&ada, "a.txt", "text/plain", 5, Some(&right)).await;
    let uploaded = put(&wrong_sum["upload"], b"wrong".to_vec()).await;
    let id = text(&wrong_sum["id"]);
    let completed = complete(&ada, &id, json!({})).await;
    assert!(
        uploaded.status >= 400 || completed.status >= 400,
        "a wrong checksum passed"
    );
    completed.problem();
    let too_short = announce(&ada, "b.txt", "text/plain", 500, None).await;
    put(&too_short["upload"], b"short".to_vec()).await;
    complete(&ada, &text(&too_short["id"]), json!({})).await.problem();
    let never = announce(&ada, "c.txt", "text/plain", 5, None).await;
    complete(&ada, &text(&never["id"]), json!({})).await.problem();
    for file in [&wrong_sum, &too_short, &never] {
        let refused = attach(&ada, &chat, "m1", &[&text(&file["id"])]).await;
        assert!(
            [404, 409, 422].contains(&refused.status),
            "sent an unfinished file: {}",
            refused.status
        );
        refused.problem();
    }
    put(&wrong_sum["upload"], b"right".to_vec()).await.succeeds();
    complete(&ada, &id, json!({})).await.succeeds();
    attach(&ada, &chat, "m1", &[&id]).await.is(201);
}

#[tokio::test]
async fn a_file_over_100_mib_is_uploaded_in_parts() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let size = 101 * MIB + 17;
    let announced = announce(&ada, "large.bin", "application/octet-stream", size, None).await;
    let parts = announced["upload"]["parts"].as_array().unwrap();
    assert!(parts.len() > 1);
    let sizes: Vec<usize> = parts.iter().map(|part| number(&part["size"]) as usize).collect();
    assert_eq!(sizes.iter().sum::<usize>(), size);
    let (mut done, mut start) = (Vec::new(), 0);
    for part in parts {
        let length = number(&part["size"]) as usize;
        // The byte at each place says which part it is of.
        let content = vec![number(&part["number"]) as u8; length];
        let reply = put(part, content).await;
        reply.succeeds();
        let etag = reply
            .header("etag")
            .expect("a part is answered with its etag")
            .to_owned();
        done.push(json!({"number": part["number"], "etag": etag}));
        start += length;
    }
    assert_eq!(start, size);
    let id = text(&announced["id"]);
    complete(&ada, &id, json!({})).await.problem();
    complete(&ada, &id, json!({"parts": &done[1..]})).await.problem();
    complete(&ada, &id, json!({"parts": done})).await.succeeds();
    let file = ada.get(&format!("/api/files/{id}")).await.is(200);
    assert_eq!(number(&file["size"]) as usize, size);
    let boundary = sizes[0];
    let range = format!("bytes={}-{}", boundary - 2, boundary + 1);
    let got = at_url("GET", &text(&file["url"]), &[("range", &range)], "").await;
    assert_eq!(got.status, 206);
    assert_eq!(&got.body[..], [1, 1, 2, 2]);
    let tail = at_url("GET", &text(&file["url"]), &[("range", "bytes=-1")], "").await;
    assert_eq!(tail.body[0] as usize, parts.len());
}

/// The photo is part of the profile, which is erased; what was sent to others, and a group's photo, is theirs too.
#[tokio::test]
async fn of_an_erased_account_only_what_others_were_given_stays() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let portrait = upload(&ada, "ada.png", "image/png", b"her face").await;
    let faces = upload(&ada, "faces.png", "image/png", b"the group's").await;
    let sent = upload(&ada, "paper.txt", "text/plain", b"paper").await;
    ada.patch("/api/users/me", json!({"photo": portrait})).await.is(200);
    let body = json!({"name": "Faces", "photo": faces, "members": [brian.id]});
    let group = text(&ada.post("/api/groups", body).await.is(201)["id"]);
    attach(&ada, &group, "m1", &[&sent]).await.is(201);
    let photo_of = |file: &str| format!("/api/files/{file}/photo");
    assert_eq!(brian.get(&photo_of(&portrait)).await.status, 302);

    ada.delete("/api/users/me").await.succeeds();
    brian.get(&photo_of(&portrait)).await.refuses(404, "not_found");
    brian
        .get(&format!("/api/files/{portrait}"))
        .await
        .refuses(404, "not_found");
    assert_eq!(brian.get(&photo_of(&faces)).await.status, 302);
    assert_eq!(&download(&brian, &sent).await.body[..], b"paper");
}

#[tokio::test]
async fn ranges_are_served() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let id = upload(&ada, "digits.txt", "text/plain", b"0123456789").await;
    let url = text(&ada.get(&format!("/api/files/{id}")).await.is(200)["url"]);
    for (range, body, content_range) in [
        ("bytes=0-3", &b"0123"[..], "bytes 0-3/10"),
        ("bytes=4-", &b"456789"[..], "bytes 4-9/10"),
        ("bytes=-2", &b"89"[..], "bytes 8-9/10"),
        ("bytes=8-99", &b"89"[..], "bytes 8-9/10"),
    ] {
        let got = at_url("GET", &url, &[("range", range)], "").await;
        assert_eq!((got.status, &got.body[..]), (206, body), "{range}");
        assert_eq!(got.header("content-range"), Some(content_range));
    }
    let outside = at_url("GET", &url, &[("range", "bytes=10-")], "").await;
    assert_eq!(outside.status, 416);
}

#[tokio::test]
async fn a_signed_url_is_for_one_thing_only() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let id = upload(&ada, "a.txt", "text/plain", b"mine").await;
    let other = announce(&ada, "b.txt", "text/plain", 4, None).await;
    let read = text(&ada.get(&format!("/api/files/{id}")).await.is(200)["url"]);
    let write = text(&other["upload"]["url"]);
    assert!(
        at_url("PUT", &read, &[], "evil").await.status >= 400,
        "a download URL takes no upload"
    );
    assert!(
        at_url("GET", &write, &[], "").await.status >= 400,
        "an upload URL gives nothing"
    );
    for forged in [
        read.replace(&id, &text(&other["id"])),
        read.split('?').next().unwrap().to_owned(),
        format!("{read}0"),
        read.replacen("expires=", "expires=9", 1),
    ] {
        if forged != read {
            let status = at_url("GET", &forged, &[], "").await.status;
            assert!([400, 401, 403, 404].contains(&status), "{forged}: {status}");
        }
    }
    let larger = at_url("PUT", &write, &[], "more than the four bytes").await;
    assert!((400..500).contains(&larger.status), "{larger:?}");
    assert_eq!(&download(&ada, &id).await.body[..], b"mine");
}

#[tokio::test]
async fn only_those_it_was_sent_to_may_read_a_file_while_they_are_members() {
    let server = Server::start().await;
    let [ada, brian, eve] = server.users(["Ada", "Brian", "Eve"]).await;
    let group = ada.group("Papers", &[&brian]).await;
    let id = upload(&ada, "a.txt", "text/plain", b"paper").await;
    attach(&eve, &eve.direct(&brian).await, "steal", &[&id])
        .await
        .refuses(404, "not_found");
    attach(&ada, &group, "m1", &[&id]).await.is(201);
    assert_eq!(&download(&brian, &id).await.body[..], b"paper");
    eve.get(&format!("/api/files/{id}")).await.refuses(404, "not_found");

    brian
        .delete(&format!("/api/groups/{group}/members/me"))
        .await
        .succeeds();
    brian.get(&format!("/api/files/{id}")).await.refuses(404, "not_found");
    let add = json!({"users": [eve.id]});
    ada.post(&format!("/api/groups/{group}/members"), add).await.succeeds();
    assert_eq!(&download(&eve, &id).await.body[..], b"paper");

    ada.delete(&format!("/api/files/{id}")).await.succeeds();
    for user in [&ada, &eve] {
        user.get(&format!("/api/files/{id}")).await.refuses(404, "not_found");
    }
}

#[tokio::test]
async fn a_wrong_announcement_refused() {
    let server = Server::with(&[("LIMITS__FILE_BYTES", "1000")]).await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let right = json!({"name": "a.txt", "type": "text/plain", "size": 1000});
    let wrong = |field: &str, value: Value| {
        let mut body = right.clone();
        body[field] = value;
        body
    };
    ada.post("/api/files", wrong("size", json!(1001)))
        .await
        .refuses(413, "too_large");
    for (field, value) in [
        ("name", json!("")),
        ("type", json!("no type")),
        ("size", json!(0)),
        ("sha256", json!("short")),
    ] {
        let problem = ada
            .post("/api/files", wrong(field, value))
            .await
            .refuses(422, "invalid_field");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    ada.post("/api/files", wrong("size", json!(-1))).await.problem();
    let file = ada.post("/api/files", right).await.is(201);
    let path = format!("/api/files/{}/complete", text(&file["id"]));
    brian.post(&path, json!({})).await.refuses(404, "not_found");
    brian
        .delete(&format!("/api/files/{}", text(&file["id"])))
        .await
        .refuses(404, "not_found");
}

#[tokio::test]
async fn files_survive_a_kill_and_lie_in_owner_only_places() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let id = upload(&ada, "a.txt", "text/plain", b"durable").await;
    attach(&ada, &chat, "m1", &[&id]).await.is(201);
    server.kill9();
    server.start_again().await;
    assert_eq!(&download(&brian, &id).await.body[..], b"durable");
    let mut places = vec![server.data_dir().to_owned()];
    while let Some(place) = places.pop() {
        for entry in std::fs::read_dir(&place).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o077;
            assert_eq!(mode, 0, "{} may be read by others", entry.path().display());
            if entry.file_type().unwrap().is_dir() {
                places.push(entry.path());
            }
        }
    }
}
