//! Groups obey their ranks: the owner and admins manage, members take part, there is always exactly one owner, and everyone is
//! told what concerns them.

use serde_json::{Value, json};

use crate::support::{Server, User, field, items, number, text};

async fn member_roles(user: &User, group: &str) -> Vec<(String, String)> {
    let page = user
        .get(&format!("/api/groups/{group}/members?limit=500"))
        .await
        .is(200);
    let mut roles: Vec<_> = items(&page)
        .iter()
        .map(|member| (text(&member["user"]["name"]), text(&member["role"])))
        .collect();
    roles.sort();
    roles
}

fn roles(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(name, role)| (name.to_string(), role.to_string()))
        .collect()
}

async fn set_role(actor: &User, group: &str, member: &User, role: &str) -> crate::support::http::Reply {
    let path = format!("/api/groups/{group}/members/{}", member.id);
    actor.patch(&path, json!({"role": role})).await
}

async fn add(actor: &User, group: &str, users: &[&User]) -> crate::support::http::Reply {
    let users: Vec<_> = users.iter().map(|user| user.id.as_str()).collect();
    actor
        .post(&format!("/api/groups/{group}/members"), json!({"users": users}))
        .await
}

async fn remove(actor: &User, group: &str, member: &User) -> crate::support::http::Reply {
    actor
        .delete(&format!("/api/groups/{group}/members/{}", member.id))
        .await
}

#[tokio::test]
async fn the_creator_owns_the_group() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    for path in ["/api/groups", "/api/groups/create"] {
        let body = json!({"name": "Engines", "members": [brian.id, brian.id, ada.id]});
        let group = ada.post(path, body).await.is(201);
        assert_eq!((&group["name"], &group["owner"]), (&json!("Engines"), &json!(ada.id)));
        assert_eq!(group["member_count"], 2);
        for absent in ["photo_url", "description"] {
            assert_eq!(group[absent], Value::Null);
        }
        let id = text(&group["id"]);
        assert_eq!(
            ada.get(&format!("/api/groups/{id}")).await.is(200)["members"],
            group["members"]
        );
        assert_eq!(
            member_roles(&brian, &id).await,
            roles(&[("Ada", "owner"), ("Brian", "member")])
        );
        let row = brian.inbox_row(&id).await.unwrap();
        assert_eq!((&row["kind"], &row["title"]), (&json!("group"), &json!("Engines")));
    }
}

#[tokio::test]
async fn an_unknown_member_is_not_found_and_nothing_is_done() {
    let server = Server::start().await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let nowhere = "0199aa00-0000-7000-8000-000000000000";
    let body = json!({"name": "Ghosts", "members": [brian.id, nowhere]});
    ada.post("/api/groups", body).await.refuses(404, "not_found");
    assert!(items(&brian.get("/api/conversations").await.is(200)).is_empty());
    let group = ada.group("Real", &[&brian]).await;
    let users = json!({"users": [carol.id, nowhere]});
    ada.post(&format!("/api/groups/{group}/members"), users)
        .await
        .refuses(404, "not_found");
    assert_eq!(member_roles(&ada, &group).await.len(), 2);
    ada.post("/api/groups", json!({"name": "Bad", "members": ["nonsense"]}))
        .await
        .problem();
}

#[tokio::test]
async fn owner_and_admins_manage_members_within_their_rank() {
    let server = Server::start().await;
    let [owner, admin, second, member, extra] = server.users(["Owner", "Admin", "Second", "Member", "Extra"]).await;
    let group = owner.group("Ranks", &[&admin, &second, &member]).await;
    set_role(&owner, &group, &admin, "admin").await.succeeds();
    set_role(&owner, &group, &second, "admin").await.succeeds();
    set_role(&admin, &group, &member, "admin")
        .await
        .refuses(403, "forbidden");
    set_role(&owner, &group, &extra, "admin")
        .await
        .refuses(404, "not_found");
    set_role(&owner, &group, &member, "emperor").await.problem();

    add(&admin, &group, &[&extra]).await.succeeds();
    add(&admin, &group, &[&extra]).await.succeeds();
    remove(&admin, &group, &second).await.refuses(403, "forbidden");
    remove(&admin, &group, &owner).await.refuses(403, "forbidden");
    remove(&member, &group, &extra).await.refuses(403, "forbidden");
    remove(&admin, &group, &extra).await.succeeds();
    remove(&admin, &group, &extra).await.refuses(404, "not_found");
    set_role(&owner, &group, &second, "member").await.succeeds();
    remove(&admin, &group, &second).await.succeeds();
    let left = roles(&[("Admin", "admin"), ("Member", "member"), ("Owner", "owner")]);
    assert_eq!(member_roles(&member, &group).await, left);

    let path = format!("/api/groups/{group}");
    admin
        .patch(&path, json!({"name": "By admin", "description": "ours"}))
        .await
        .is(200);
    let seen = member.get(&path).await.is(200);
    assert_eq!(
        (&seen["name"], &seen["description"]),
        (&json!("By admin"), &json!("ours"))
    );
    admin.delete(&path).await.refuses(403, "forbidden");
}

#[tokio::test]
async fn handing_over_makes_the_old_owner_an_admin() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Crown", &[&brian]).await;
    set_role(&ada, &group, &brian, "owner").await.succeeds();
    assert_eq!(
        member_roles(&ada, &group).await,
        roles(&[("Ada", "admin"), ("Brian", "owner")])
    );
    assert_eq!(
        ada.get(&format!("/api/groups/{group}")).await.is(200)["owner"],
        brian.id.as_str()
    );
    set_role(&ada, &group, &brian, "member").await.refuses(403, "forbidden");
    let demoted_self = set_role(&brian, &group, &brian, "member").await;
    assert!(demoted_self.status >= 400, "a group has an owner at all times");
    assert_eq!(
        member_roles(&ada, &group).await,
        roles(&[("Ada", "admin"), ("Brian", "owner")])
    );
}

#[tokio::test]
async fn an_owner_who_leaves_hands_over_to_the_longest_serving_admin() {
    let server = Server::start().await;
    let [owner, oldest, late, early] = server.users(["Owner", "Oldest", "Late", "Early"]).await;
    let group = owner.group("Heirs", &[&oldest]).await;
    add(&owner, &group, &[&late]).await.succeeds();
    add(&owner, &group, &[&early]).await.succeeds();
    // Longest serving is who has been an admin longest, not who has been a member longest.
    set_role(&owner, &group, &early, "admin").await.succeeds();
    set_role(&owner, &group, &late, "admin").await.succeeds();
    owner
        .delete(&format!("/api/groups/{group}/members/me"))
        .await
        .succeeds();
    let expected = roles(&[("Early", "owner"), ("Late", "admin"), ("Oldest", "member")]);
    assert_eq!(member_roles(&late, &group).await, expected);

    early
        .delete(&format!("/api/groups/{group}/members/me"))
        .await
        .succeeds();
    late.delete("/api/users/me").await.succeeds();
    assert_eq!(member_roles(&oldest, &group).await, roles(&[("Oldest", "owner")]));
    oldest
        .delete(&format!("/api/groups/{group}/members/me"))
        .await
        .succeeds();
    oldest
        .get(&format!("/api/groups/{group}"))
        .await
        .refuses(404, "not_found");
}

#[tokio::test]
async fn everything_of_a_deleted_group_is_not_found_to_all() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Doomed", &[&brian]).await;
    ada.say(&group, "m1", "last words").await;
    let mut brians = brian.connect().await;
    let mut adas = ada.connect().await;
    ada.delete(&format!("/api/groups/{group}")).await.succeeds();
    let told = brians.expect_t("notification").await;
    assert_eq!(
        (&told["kind"], &told["conversation"]),
        (&json!("group_removed"), &json!(group))
    );
    for user in [&ada, &brian] {
        for path in [
            "/api/groups/{}",
            "/api/messages/{}",
            "/api/groups/{}/members",
            "/api/conversations/{}/receipts",
        ] {
            user.get(&path.replace("{}", &group)).await.refuses(404, "not_found");
        }
        let send = json!({"to": {"conversation": group}, "id": "x", "body": "x"});
        user.post("/api/messages", send).await.refuses(404, "not_found");
        assert_eq!(user.inbox_row(&group).await, None);
    }
    adas.refused(json!({"t": "history", "conversation": group}), "not_found")
        .await;
    assert_eq!(brian.connect().await.news(&group), None);
}

#[tokio::test]
async fn members_are_told_of_joining_changing_and_leaving() {
    let server = Server::start().await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let (mut brians, mut carols) = (brian.connect().await, carol.connect().await);
    let group = ada.group("News", &[&brian]).await;
    let is = |kind: &'static str| {
        let group = group.clone();
        move |frame: &Value| {
            frame["t"] == "notification" && frame["kind"] == kind && frame["conversation"] == group.as_str()
        }
    };
    brians.expect("group_added", is("group_added")).await;
    ada.patch(&format!("/api/groups/{group}"), json!({"name": "Renamed"}))
        .await
        .is(200);
    brians.expect("group_changed", is("group_changed")).await;
    add(&ada, &group, &[&carol]).await.succeeds();
    carols.expect("group_added", is("group_added")).await;
    remove(&ada, &group, &carol).await.succeeds();
    carols.expect("group_removed", is("group_removed")).await;
    ada.say(&group, "m1", "without carol").await;
    brians.message(&group).await;
    carols.has_no("message").await;
}

#[tokio::test]
async fn a_member_sees_all_of_the_history_an_ex_member_none_and_one_who_returns_all() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Doors", &[]).await;
    ada.say(&group, "m1", "before").await;
    add(&ada, &group, &[&brian]).await.succeeds();
    assert_eq!(brian.whole_history(&group).await.len(), 1);
    brian
        .delete(&format!("/api/groups/{group}/members/me"))
        .await
        .succeeds();
    ada.say(&group, "m2", "while away").await;
    brian
        .get(&format!("/api/messages/{group}"))
        .await
        .refuses(403, "not_member");
    add(&ada, &group, &[&brian]).await.succeeds();
    let bodies = field(&brian.whole_history(&group).await, "body");
    assert_eq!(bodies, ["before", "while away"]);
    brian.say(&group, "m1", "back").await;
}

#[tokio::test]
async fn membership_changes_survive_a_kill() {
    let mut server = Server::start().await;
    let [ada, brian, carol] = server.users(["Ada", "Brian", "Carol"]).await;
    let group = ada.group("Hard", &[&brian]).await;
    set_role(&ada, &group, &brian, "owner").await.succeeds();
    add(&brian, &group, &[&carol]).await.succeeds();
    remove(&brian, &group, &ada).await.succeeds();
    server.kill9();
    server.start_again().await;
    assert_eq!(
        member_roles(&carol, &group).await,
        roles(&[("Brian", "owner"), ("Carol", "member")])
    );
    ada.get(&format!("/api/groups/{group}"))
        .await
        .refuses(403, "not_member");
}

#[tokio::test]
async fn members_page_and_each_comes_once() {
    let server = Server::start().await;
    let owner = server.user("Owner").await;
    let mut members = Vec::new();
    for n in 0..120 {
        members.push(server.user(&format!("Member{n}")).await);
    }
    let group = owner.group("Crowd", &members.iter().collect::<Vec<_>>()).await;
    let page = owner.get(&format!("/api/groups/{group}")).await.is(200);
    assert_eq!(page["member_count"], 121);
    let first = page["members"].as_array().unwrap().len();
    assert!(first > 0 && first <= 121, "{first} members on the first page");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/groups/{group}/members?limit=50{cursor}");
        let page = members[7].get(&path).await.is(200);
        seen.extend(items(&page).iter().map(|member| text(&member["user"]["id"])));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 121);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 121, "each once");
    let wrong = owner
        .get(&format!("/api/groups/{group}/members?cursor=%00nonsense"))
        .await;
    wrong.refuses(400, "bad_request");
}

#[tokio::test]
async fn the_group_photo_is_a_file_that_any_signed_in_user_may_read() {
    let server = Server::start().await;
    let [ada, brian, eve] = server.users(["Ada", "Brian", "Eve"]).await;
    let photo = crate::files_reach_their_readers::upload(&ada, "group.png", "image/png", b"not really a png").await;
    let body = json!({"name": "Faces", "photo": photo, "members": [brian.id]});
    let group = ada.post("/api/groups", body).await.is(201);
    assert!(group["photo_url"].is_string(), "{group}");
    let file = eve.get(&format!("/api/files/{photo}")).await.is(200);
    let bytes = crate::support::http::at_url("GET", &text(&file["url"]), &[], "").await;
    assert_eq!(&bytes.body[..], b"not really a png");
    assert!(number(&file["size"]) == 16);
}
