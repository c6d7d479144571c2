//! An account is its owner's: made, changed and deleted by them, seen by others only as far as its public part goes.

use serde_json::{Value, json};

use crate::support::{Server, field, items, text};

fn signup(email: &str, username: &str, name: &str) -> Value {
    json!({"email": email, "username": username, "name": name, "password": "correct horse battery"})
}

/// `2026-11-21T09:30:00.123Z`
fn assert_is_a_time(value: &Value) {
    let text = text(value);
    let shape: String = text
        .chars()
        .map(|letter| if letter.is_ascii_digit() { '0' } else { letter })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{text}");
}

#[tokio::test]
async fn signing_up_makes_a_user_and_a_login() {
    let server = Server::start().await;
    let body = signup("Ada@Example.org", "ada", "Ada Lovelace");
    let answer = server.anonymous().post("/api/auth/signup", body).await.is(201);
    let user = &answer["user"];
    assert_eq!(
        (&user["name"], &user["username"]),
        (&json!("Ada Lovelace"), &json!("ada"))
    );
    assert_eq!(text(&user["id"]).len(), 36);
    assert_eq!(text(&user["id"]).as_bytes()[14], b'7', "ids are UUID version 7");
    assert_is_a_time(&user["created_at"]);
    assert_is_a_time(&user["updated_at"]);
    assert_eq!(answer["token_type"], "Bearer");
    let me = server.anonymous().with_token(answer["access_token"].as_str().unwrap());
    let me = me.get("/api/users/me").await.is(200);
    assert_eq!(me["id"], user["id"]);
    assert!(text(&me["email"]).eq_ignore_ascii_case("ada@example.org"));
    assert!(me.get("preferences").is_some());
    assert!(!me.to_string().contains("password"));
}

#[tokio::test]
async fn a_username_is_made_from_the_email_when_none_is_given() {
    let server = Server::start().await;
    let mut names = Vec::new();
    for email in ["grace.hopper@example.org", "grace.hopper@example.com"] {
        let body = json!({"email": email, "name": "Grace", "password": "correct horse battery"});
        let answer = server.anonymous().post("/api/auth/signup", body).await.is(201);
        names.push(text(&answer["user"]["username"]));
    }
    assert!(names[0].starts_with("grace"), "{names:?}");
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn emails_and_usernames_are_unique_without_regard_to_case() {
    let server = Server::start().await;
    server.user("Ada").await;
    let nobody = server.anonymous();
    let taken = nobody
        .post("/api/auth/signup", signup("ADA@example.ORG", "ada2", "A"))
        .await;
    taken.refuses(409, "email_taken");
    let taken = nobody
        .post("/api/auth/signup", signup("else@example.org", "ADA", "A"))
        .await;
    taken.refuses(409, "username_taken");
    let [brian, _] = server.users(["Brian", "Carol"]).await;
    let taken = brian.patch("/api/users/me", json!({"username": "CAROL"})).await;
    taken.refuses(409, "username_taken");
    brian.patch("/api/users/me", json!({"username": "BRIAN"})).await.is(200);
    let body = json!({"username": "bRiAn", "password": brian.password});
    nobody.post("/api/auth/login", body).await.is(200);
}

#[tokio::test]
async fn a_sign_up_at_once_of_one_email_makes_one_user() {
    let server = Server::start().await;
    let nobody = server.anonymous();
    let (one, two, three) = tokio::join!(
        nobody.post("/api/auth/signup", signup("a@example.org", "one", "A")),
        nobody.post("/api/auth/signup", signup("a@example.org", "two", "A")),
        nobody.post("/api/auth/signup", signup("A@example.org", "three", "A")),
    );
    let mut statuses = [one.status, two.status, three.status];
    statuses.sort();
    assert_eq!(statuses, [201, 409, 409]);
}

#[tokio::test]
async fn a_wrong_sign_up_names_its_fields() {
    let server = Server::start().await;
    let nobody = server.anonymous();
    let right = signup("a@example.org", "ada", "Ada");
    for (wrong, value) in [
        ("email", json!("no address")),
        ("email", json!("")),
        ("name", json!("")),
        ("password", json!("")),
        ("password", json!("short")),
        ("username", json!("with space")),
        ("username", json!("")),
    ] {
        let mut body = right.clone();
        body[wrong] = value;
        let problem = nobody
            .post("/api/auth/signup", body.clone())
            .await
            .refuses(422, "invalid_field");
        assert_eq!(problem["errors"][0]["field"], wrong, "{body} -> {problem}");
        assert!(problem["errors"][0]["message"].is_string());
    }
    let problem = nobody.post("/api/auth/signup", json!({})).await.problem();
    assert!(problem["status"] == 422 || problem["status"] == 400, "{problem}");
    nobody.post("/api/auth/signup", right).await.is(201);
}

#[tokio::test]
async fn others_see_the_public_part_only() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let seen = brian.get(&format!("/api/users/{}", ada.id)).await.is(200);
    let mut fields: Vec<_> = seen.as_object().unwrap().keys().cloned().collect();
    fields.sort();
    let public = "created_at id last_seen_at name photo_url status_message updated_at username";
    assert_eq!(fields.join(" "), public);
    brian
        .get("/api/users/0199aa00-0000-7000-8000-000000000000")
        .await
        .refuses(404, "not_found");
    brian.get("/api/users/nonsense").await.refuses(404, "not_found");
}

#[tokio::test]
async fn a_profile_is_changed_field_by_field() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let patch = json!({"name": "Countess", "status_message": "computing", "preferences": {"theme": "dark"}});
    ada.patch("/api/users/me", patch).await.is(200);
    let me = ada.get("/api/users/me").await.is(200);
    assert_eq!(me["name"], "Countess");
    assert_eq!(me["status_message"], "computing");
    assert_eq!(me["preferences"]["theme"], "dark");
    assert_eq!(me["username"], "ada");
    ada.patch("/api/users/me", json!({"status_message": null}))
        .await
        .is(200);
    let me = ada.get("/api/users/me").await.is(200);
    assert_eq!((&me["status_message"], &me["name"]), (&Value::Null, &json!("Countess")));
    ada.patch("/api/users/me", json!({"name": ""}))
        .await
        .refuses(422, "invalid_field");
    ada.patch("/api/users/me", json!({"unknown": 1})).await.is(200);
}

#[tokio::test]
async fn a_new_name_is_the_title_of_direct_conversations() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    ada.say(&chat, "m", "hello").await;
    ada.patch("/api/users/me", json!({"name": "Countess"})).await.is(200);
    let row = brian.inbox_row(&chat).await.unwrap();
    assert_eq!(
        (&row["title"], &row["peer"]["name"]),
        (&json!("Countess"), &json!("Countess"))
    );
    assert_eq!(brian.connect().await.news(&chat).unwrap()["title"], "Countess");
}

#[tokio::test]
async fn people_are_found_by_the_beginning_of_a_name_page_by_page() {
    let server = Server::start().await;
    let seeker = server.user("Seeker").await;
    for n in 0..7 {
        server.user(&format!("Maria{n}")).await;
    }
    server.user("Zoe").await;
    let mut found = Vec::new();
    let mut path = "/api/users?query=mAr&limit=3".to_owned();
    loop {
        let page = seeker.get(&path).await.is(200);
        assert!(items(&page).len() <= 3);
        found.extend(items(&page));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/users?query=mAr&limit=3&cursor={next}");
    }
    let mut names: Vec<_> = field(&found, "name").iter().map(text).collect();
    names.sort();
    assert_eq!(
        names,
        ["Maria0", "Maria1", "Maria2", "Maria3", "Maria4", "Maria5", "Maria6"]
    );
    assert!(found.iter().all(|user| user["email"].is_null()), "no e-mail is shown");
    let none = seeker.get("/api/users?query=%25").await.is(200);
    assert!(items(&none).is_empty(), "a wildcard is a letter like others");
}

#[tokio::test]
async fn a_deleted_account_is_gone_and_its_messages_stay() {
    let server = Server::start().await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let chat = ada.direct(&brian).await;
    let group = ada.group("Heirs", &[&brian, &carol]).await;
    ada.say(&chat, "m1", "to brian").await;
    ada.say(&group, "m1", "to all").await;
    ada.delete("/api/users/me").await.succeeds();

    brian
        .get(&format!("/api/users/{}", ada.id))
        .await
        .refuses(404, "not_found");
    let found = brian.get("/api/users?query=ada").await.is(200);
    assert!(items(&found).is_empty());
    assert_eq!(brian.whole_history(&chat).await[0]["body"], "to brian");
    let history = brian.whole_history(&group).await;
    assert_eq!(history[0]["from"], ada.id.as_str());
    let to_her = json!({"to": {"user": ada.id}, "id": "x", "body": "still there?"});
    brian.post("/api/messages", to_her).await.refuses(404, "not_found");
    let to_chat = json!({"to": {"conversation": chat}, "id": "y", "body": "still there?"});
    brian.post("/api/messages", to_chat).await.refuses(404, "not_found");
    brian
        .post("/api/conversations", json!({"user": ada.id}))
        .await
        .refuses(404, "not_found");

    let left = brian.get(&format!("/api/groups/{group}")).await.is(200);
    assert_eq!(left["member_count"], 2);
    assert!(left["owner"] == brian.id.as_str() || left["owner"] == carol.id.as_str());
    let again = server.user("Ada").await;
    assert_ne!(again.id, ada.id, "e-mail and username are free again");
}
