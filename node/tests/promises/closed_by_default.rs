//! Closed by default: no route, frame or object can be read or changed by someone it isn't for.
//!
//! A table of every id-bearing route, each tried as nobody, a stranger, an ex-member and an ordinary member of the group it
//! touches, and on a direct conversation as a third person. A stranger must not even be able to tell that a thing exists.

use serde_json::{Value, json};

use crate::support::http::Reply;
use crate::support::{Server, User, text};

const NOWHERE: &str = "0199aa00-0000-7000-8000-000000000000";

/// What a caller must be told.
#[derive(Clone, Copy, Debug)]
enum Due {
    Fine,
    Refused(u16, &'static str),
}

use Due::{Fine, Refused};

const UNAUTHORIZED: Due = Refused(401, "unauthorized");
const NOT_FOUND: Due = Refused(404, "not_found");
const NOT_MEMBER: Due = Refused(403, "not_member");
const FORBIDDEN: Due = Refused(403, "forbidden");

/// A route on a group: the method, the path (`{}` is the group, `{file}`, `{owner}` what they say), the body, and what an
/// ordinary member is told. A stranger is always told 404, nobody 401.
struct Row {
    method: &'static str,
    path: &'static str,
    body: Value,
    ex_member: Due,
    member: Due,
}

fn row(method: &'static str, path: &'static str, body: Value, member: Due) -> Row {
    Row {
        method,
        path,
        body,
        ex_member: NOT_MEMBER,
        member,
    }
}

/// The order matters: what would destroy something is refused to everyone who tries, and what succeeds can be repeated.
fn group_routes() -> Vec<Row> {
    let none = || Value::Null;
    vec![
        row("GET", "/api/groups/{}", none(), Fine),
        row("PATCH", "/api/groups/{}", json!({"name": "Mine"}), FORBIDDEN),
        row("DELETE", "/api/groups/{}", none(), FORBIDDEN),
        row("GET", "/api/groups/{}/members", none(), Fine),
        row(
            "POST",
            "/api/groups/{}/members",
            json!({"users": ["{stranger}"]}),
            FORBIDDEN,
        ),
        row("DELETE", "/api/groups/{}/members/{owner}", none(), FORBIDDEN),
        row(
            "PATCH",
            "/api/groups/{}/members/{owner}",
            json!({"role": "member"}),
            FORBIDDEN,
        ),
        row(
            "POST",
            "/api/messages",
            json!({"to": {"conversation": "{}"}, "id": "try", "body": "hi"}),
            Fine,
        ),
        row("GET", "/api/messages/{}", none(), Fine),
        row("PATCH", "/api/messages/{}/1", json!({"body": "forged"}), FORBIDDEN),
        row("DELETE", "/api/messages/{}/1", none(), FORBIDDEN),
        row("PUT", "/api/messages/{}/1/reactions/%F0%9F%91%8D", none(), Fine),
        row("DELETE", "/api/messages/{}/1/reactions/%F0%9F%91%8D", none(), Fine),
        row("POST", "/api/conversations/{}/read", json!({"seq": 1}), Fine),
        row("GET", "/api/conversations/{}/receipts", none(), Fine),
        row("PATCH", "/api/conversations/{}", json!({"pinned": true}), Fine),
        Row {
            ex_member: NOT_FOUND,
            ..row("GET", "/api/files/{file}", none(), Fine)
        },
        Row {
            ex_member: NOT_FOUND,
            ..row("DELETE", "/api/files/{file}", none(), FORBIDDEN)
        },
    ]
}

/// Everything the table's placeholders stand for.
struct Place {
    group: String,
    file: String,
    owner: User,
    member: User,
    ex_member: User,
    stranger: User,
}

impl Place {
    async fn on(server: &Server) -> Self {
        let [owner, member, ex_member, stranger] = server.users(["Owner", "Member", "Former", "Stranger"]).await;
        let group = owner.group("Closed", &[&member, &ex_member]).await;
        let file = crate::files_reach_their_readers::upload(&owner, "plan.txt", "text/plain", b"secret").await;
        let message = json!({"to": {"conversation": group}, "id": "m1", "body": "first", "attachments": [file]});
        owner.post("/api/messages", message).await.is(201);
        let path = format!("/api/groups/{group}/members/{}", ex_member.id);
        owner.delete(&path).await.succeeds();
        Self {
            group,
            file,
            owner,
            member,
            ex_member,
            stranger,
        }
    }

    fn fill(&self, template: &str, group: &str, file: &str) -> String {
        template
            .replace("{}", group)
            .replace("{file}", file)
            .replace("{owner}", &self.owner.id)
            .replace("{stranger}", &self.stranger.id)
    }

    async fn call(&self, row: &Row, caller: &User, group: &str, file: &str) -> Reply {
        let body = Some(&row.body).filter(|body| !body.is_null());
        let body = body.map(|body| serde_json::from_str(&self.fill(&body.to_string(), group, file)).unwrap());
        let path = self.fill(row.path, group, file);
        caller.http().call(row.method, &path, body).await
    }

    async fn check(&self, row: &Row, caller: &User, due: Due) -> Reply {
        println!("{} {} as {}: {due:?}", row.method, row.path, caller.name);
        let reply = self.call(row, caller, &self.group, &self.file).await;
        match due {
            Fine => {
                reply.succeeds();
            }
            Refused(status, code) => {
                reply.refuses(status, code);
            }
        }
        reply
    }
}

#[tokio::test]
async fn every_group_route_is_closed_to_those_it_is_not_for() {
    let server = Server::start().await;
    let place = Place::on(&server).await;
    for row in group_routes() {
        let path = place.fill(row.path, &place.group, &place.file);
        let body = Some(row.body.clone()).filter(|body| !body.is_null());
        let nobody = server.anonymous().call(row.method, &path, body).await;
        println!("{} {} as nobody: {UNAUTHORIZED:?}", row.method, row.path);
        nobody.refuses(401, "unauthorized");
        place.check(&row, &place.stranger, NOT_FOUND).await;
        place.check(&row, &place.ex_member, row.ex_member).await;
        place.check(&row, &place.member, row.member).await;
    }
    let group = place.owner.get(&format!("/api/groups/{}", place.group)).await.is(200);
    assert_eq!(
        (&group["name"], &group["member_count"]),
        (&json!("Closed"), &json!(2)),
        "nothing was changed"
    );
    let history = place.owner.whole_history(&place.group).await;
    assert_eq!(history[0]["body"], "first");
    assert_eq!(history.len(), 2, "only the member's message was added");
}

#[tokio::test]
async fn a_stranger_cannot_tell_a_thing_that_exists_from_one_that_does_not() {
    let server = Server::start().await;
    let place = Place::on(&server).await;
    for row in group_routes() {
        let existing = place.call(&row, &place.stranger, &place.group, &place.file).await;
        let missing = place.call(&row, &place.stranger, NOWHERE, NOWHERE).await;
        let (existing, missing) = (existing.refuses(404, "not_found"), missing.refuses(404, "not_found"));
        for field in ["type", "title", "detail", "errors"] {
            assert_eq!(existing[field], missing[field], "{} {} tells", row.method, row.path);
        }
    }
}

#[tokio::test]
async fn a_direct_conversation_is_closed_to_a_third_person() {
    let server = Server::start().await;
    let [ada, brian, eve] = server.users(["Ada", "Brian", "Eve"]).await;
    let chat = ada.direct(&brian).await;
    ada.say(&chat, "m1", "between us").await;
    let routes = [
        ("GET", format!("/api/messages/{chat}"), None),
        (
            "POST",
            "/api/messages".into(),
            Some(json!({"to": {"conversation": chat}, "id": "x", "body": "x"})),
        ),
        ("PATCH", format!("/api/messages/{chat}/1"), Some(json!({"body": "x"}))),
        ("DELETE", format!("/api/messages/{chat}/1"), None),
        ("PUT", format!("/api/messages/{chat}/1/reactions/x"), None),
        ("DELETE", format!("/api/messages/{chat}/1/reactions/x"), None),
        (
            "POST",
            format!("/api/conversations/{chat}/read"),
            Some(json!({"seq": 1})),
        ),
        ("GET", format!("/api/conversations/{chat}/receipts"), None),
        (
            "PATCH",
            format!("/api/conversations/{chat}"),
            Some(json!({"pinned": true})),
        ),
        ("GET", format!("/api/groups/{chat}"), None),
        (
            "POST",
            format!("/api/groups/{chat}/members"),
            Some(json!({"users": [eve.id]})),
        ),
        ("DELETE", format!("/api/groups/{chat}"), None),
    ];
    for (method, path, body) in routes {
        eve.http().call(method, &path, body).await.refuses(404, "not_found");
    }
    assert_eq!(eve.inbox_row(&chat).await, None);
    let history = ada.whole_history(&chat).await;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0]["body"], "between us");
    assert_eq!(history[0]["reactions"], Value::Null);
}

#[tokio::test]
async fn every_frame_is_closed_to_strangers_and_ex_members() {
    let server = Server::start().await;
    let place = Place::on(&server).await;
    let group = &place.group;
    let mut owner = place.owner.connect().await;
    owner.stream(group, 1, 1).await;
    for (caller, code) in [(&place.stranger, "not_found"), (&place.ex_member, "not_member")] {
        let mut socket = caller.connect().await;
        assert_eq!(socket.news(group), None, "{} is told nothing of the group", caller.name);
        for frame in [
            json!({"t": "send", "to": {"conversation": group}, "id": "x", "body": "x"}),
            json!({"t": "history", "conversation": group}),
            json!({"t": "edit", "conversation": group, "seq": 1, "body": "x"}),
            json!({"t": "delete", "conversation": group, "seq": 1}),
            json!({"t": "react", "conversation": group, "seq": 1, "emoji": "x"}),
        ] {
            socket.refused(frame, code).await;
        }
        socket.ack(group, 1);
        socket.read(group, 1);
        socket.typing(group);
        socket.settle().await;
    }
    let mut member = place.member.connect().await;
    for frame in [
        json!({"t": "edit", "conversation": group, "seq": 1, "body": "x"}),
        json!({"t": "delete", "conversation": group, "seq": 1}),
    ] {
        member.refused(frame, "forbidden").await;
    }
    member.say(group, "after all that").await;
    owner.message(group).await;
    for t in ["typing", "receipt", "update"] {
        owner.has_no(t).await;
    }
}

#[tokio::test]
async fn an_ex_member_and_a_stranger_hear_nothing_of_what_goes_on() {
    let server = Server::start().await;
    let place = Place::on(&server).await;
    let (mut former, mut stranger) = (place.ex_member.connect().await, place.stranger.connect().await);
    let mut owner = place.owner.connect().await;
    owner.say(&place.group, "not for them").await;
    owner.typing(&place.group);
    owner.settle().await;
    for socket in [&mut former, &mut stranger] {
        socket.settle().await;
        for t in ["message", "update", "typing", "receipt", "gap"] {
            socket.has_no(t).await;
        }
    }
    assert_eq!(place.ex_member.inbox_row(&place.group).await, None);
}

#[tokio::test]
async fn devices_and_tokens_are_their_owners() {
    let server = Server::start().await;
    let [ada, eve] = server.users(["Ada", "Eve"]).await;
    let mut socket = ada.connect().await;
    let device = format!("/api/devices/{}", socket.device);
    eve.delete(&device).await.refuses(404, "not_found");
    server.anonymous().delete(&device).await.refuses(401, "unauthorized");
    socket.settle().await;
    let mut eves = eve.connect().await;
    eves.refused(json!({"t": "reauth", "token": ada.access}), "unauthorized")
        .await;
    eves.refused(json!({"t": "reauth", "token": "nonsense"}), "unauthorized")
        .await;
}

#[tokio::test]
async fn every_route_but_the_open_ones_wants_a_token() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let routes = [
        ("GET", "/api/users?query=a"),
        ("GET", "/api/users/me"),
        ("PATCH", "/api/users/me"),
        ("POST", "/api/users/me/password"),
        ("DELETE", "/api/users/me"),
        ("POST", "/api/auth/logout"),
        ("POST", "/api/groups"),
        ("POST", "/api/groups/create"),
        ("GET", "/api/conversations"),
        ("POST", "/api/conversations"),
        ("POST", "/api/messages"),
        ("POST", "/api/files"),
        ("GET", "/api/devices"),
    ];
    let tampered = format!("{}x", ada.access);
    for (method, path) in routes {
        let reply = server.anonymous().call(method, path, None).await;
        reply.refuses(401, "unauthorized");
        assert!(
            reply
                .header("www-authenticate")
                .is_some_and(|value| value.starts_with("Bearer"))
        );
        for token in ["nonsense", tampered.as_str(), ada.refresh.as_str()] {
            let forged = server.anonymous().with_token(token);
            forged.call(method, path, None).await.refuses(401, "unauthorized");
        }
    }
    let user = format!("/api/users/{}", ada.id);
    server.anonymous().get(&user).await.refuses(401, "unauthorized");
    assert_eq!(text(&ada.get(&user).await.is(200)["name"]), "Ada");
}

#[tokio::test]
async fn what_is_for_operators_is_not_on_the_public_listener() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    for path in ["/healthz", "/readyz", "/metrics", "/admin/nodes", "/admin/shards"] {
        ada.get(path).await.refuses(404, "not_found");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.admin().get(path).await.status, 200, "{path}");
    }
    let status = server.admin().post("/admin/drain", json!({})).await.status;
    assert!([401, 404].contains(&status), "drained without an admin token: {status}");
    ada.get("/api/users/me").await.is(200);
}
