//! A login that ends is over at once: its tokens are refused and its sockets are closed, and nobody else's are.

use serde_json::{Value, json};

use crate::support::{Server, User};

async fn is_over(user: &User) {
    user.get("/api/users/me").await.refuses(401, "unauthorized");
    let reply = user.socket().refused().await;
    reply.refuses(401, "unauthorized");
    assert_eq!(user.try_refresh().await.status, 401);
}

async fn goes_on(user: &User) {
    user.get("/api/users/me").await.is(200);
    user.connect().await.close().await;
}

#[tokio::test]
async fn logging_out_ends_this_login_and_no_other() {
    let server = Server::start().await;
    let phone = server.user("Ada").await;
    let laptop = phone.log_in_again().await;
    let mut phone_socket = phone.connect().await;
    let mut second_phone_socket = phone.connect().await;
    let mut laptop_socket = laptop.connect().await;
    phone.post("/api/auth/logout", json!({})).await.succeeds();
    assert_eq!(phone_socket.closed().await, 4001);
    assert_eq!(second_phone_socket.closed().await, 4001);
    is_over(&phone).await;
    laptop_socket.settle().await;
    goes_on(&laptop).await;
}

#[tokio::test]
async fn logging_out_everywhere_ends_every_login_of_the_user() {
    let server = Server::start().await;
    let phone = server.user("Ada").await;
    let laptop = phone.log_in_again().await;
    let brian = server.user("Brian").await;
    let mut sockets = [phone.connect().await, laptop.connect().await];
    let mut brians = brian.connect().await;
    laptop
        .post("/api/auth/logout?everywhere=true", json!({}))
        .await
        .succeeds();
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, 4001);
    }
    is_over(&phone).await;
    is_over(&laptop).await;
    brians.settle().await;
    goes_on(&phone.log_in_again().await).await;
}

#[tokio::test]
async fn a_revoked_login_stays_revoked_after_a_kill() {
    let mut server = Server::start().await;
    let ada = server.user("Ada").await;
    ada.post("/api/auth/logout", json!({})).await.succeeds();
    server.kill9();
    server.start_again().await;
    is_over(&ada).await;
}

#[tokio::test]
async fn tokens_survive_a_restart() {
    let mut server = Server::start().await;
    let ada = server.user("Ada").await;
    server.stop().await;
    server.start_again().await;
    goes_on(&ada).await;
    ada.try_refresh().await.is(200);
}

#[tokio::test]
async fn refreshing_rotates_the_pair_and_keeps_the_login() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let mut socket = ada.connect().await;
    let answer = ada.try_refresh().await.is(200);
    assert_eq!(answer["token_type"], "Bearer");
    assert!(answer["expires_in"].as_u64().unwrap() > 0);
    let next = ada.with_tokens(&answer);
    assert_ne!(next.refresh, ada.refresh);
    goes_on(&next).await;
    let third = next.with_tokens(&next.try_refresh().await.is(200));
    goes_on(&third).await;
    assert_eq!(
        third.connect_as(&socket.device).await.device,
        socket.device,
        "it is the same login"
    );
    assert_eq!(socket.closed().await, 4009);
}

#[tokio::test]
async fn a_spent_refresh_token_ends_its_login() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let other_login = ada.log_in_again().await;
    let next = ada.with_tokens(&ada.try_refresh().await.is(200));
    let mut socket = next.connect().await;
    ada.try_refresh().await.refuses(401, "refresh_reused");
    assert_eq!(socket.closed().await, 4001);
    is_over(&next).await;
    goes_on(&other_login).await;
}

#[tokio::test]
async fn two_refreshes_at_once_do_not_both_win() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let (one, two) = tokio::join!(ada.try_refresh(), ada.try_refresh());
    let mut statuses = [one.status, two.status];
    statuses.sort();
    assert_eq!(statuses, [200, 401]);
}

#[tokio::test]
async fn what_is_no_refresh_token_refused() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    for token in ["", "nonsense", &ada.access, &format!("{}x", ada.refresh)] {
        let body = json!({"refresh_token": token});
        let reply = server.anonymous().post("/api/auth/refresh", body).await;
        reply.refuses(401, "unauthorized");
    }
    goes_on(&ada).await;
    ada.try_refresh().await.is(200);
}

#[tokio::test]
async fn changing_the_password_revokes_the_other_logins() {
    let server = Server::start().await;
    let phone = server.user("Ada").await;
    let laptop = phone.log_in_again().await;
    let mut phone_socket = phone.connect().await;
    let mut laptop_socket = laptop.connect().await;
    let wrong = json!({"old": "not the password", "new": "a much better one"});
    laptop
        .post("/api/users/me/password", wrong)
        .await
        .refuses(403, "bad_credentials");
    phone_socket.settle().await;
    let right = json!({"old": phone.password, "new": "a much better one"});
    laptop.post("/api/users/me/password", right).await.succeeds();
    assert_eq!(phone_socket.closed().await, 4001);
    laptop_socket.settle().await;
    is_over(&phone).await;
    goes_on(&laptop).await;
    phone.try_log_in(&phone.password).await.refuses(401, "bad_credentials");
    phone.try_log_in("a much better one").await.is(200);
}

#[tokio::test]
async fn deleting_the_account_ends_every_login() {
    let server = Server::start().await;
    let phone = server.user("Ada").await;
    let laptop = phone.log_in_again().await;
    let mut sockets = [phone.connect().await, laptop.connect().await];
    phone.delete("/api/users/me").await.succeeds();
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, 4001);
    }
    is_over(&phone).await;
    is_over(&laptop).await;
    phone.try_log_in(&phone.password).await.refuses(401, "bad_credentials");
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_are_told_alike() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let wrong = ada.try_log_in("wrong").await.refuses(401, "bad_credentials");
    let body = json!({"email": "nobody@example.org", "password": "wrong"});
    let unknown = server
        .anonymous()
        .post("/api/auth/login", body)
        .await
        .refuses(401, "bad_credentials");
    for field in ["type", "title", "detail", "errors"] {
        assert_eq!(wrong[field], unknown[field]);
    }
}

#[tokio::test]
async fn an_expired_token_is_refused_and_its_socket_closed_with_4002() {
    let server = Server::with(&[("AUTH__ACCESS_TOKEN_SECONDS", "5")]).await;
    let ada = server.user("Ada").await;
    let mut socket = ada.connect().await;
    assert_eq!(socket.closed().await, 4002);
    ada.get("/api/users/me").await.refuses(401, "token_expired");
    ada.socket().refused().await.refuses(401, "token_expired");
    let fresh = ada.with_tokens(&ada.try_refresh().await.is(200));
    assert_eq!(fresh.connect_as(&socket.device).await.device, socket.device);
}

#[tokio::test]
async fn reauth_keeps_the_socket_beyond_the_first_token() {
    let server = Server::with(&[("AUTH__ACCESS_TOKEN_SECONDS", "8")]).await;
    let ada = server.user("Ada").await;
    let mut renewed = ada.connect().await;
    let mut left_alone = ada.connect().await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let fresh = ada.with_tokens(&ada.try_refresh().await.is(200));
    let ok = renewed.ok(json!({"t": "reauth", "token": fresh.access})).await;
    assert_eq!((&ok["t"], &ok["seq"]), (&json!("ok"), &Value::Null));
    assert_eq!(left_alone.closed().await, 4002);
    renewed.settle().await;
    assert_eq!(renewed.closed().await, 4002, "the second token expires too");
}

#[tokio::test]
async fn reauth_takes_only_a_token_of_the_same_login() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let other_login = ada.log_in_again().await;
    let mut socket = ada.connect().await;
    for token in [other_login.access.as_str(), ada.refresh.as_str(), "nonsense"] {
        socket
            .refused(json!({"t": "reauth", "token": token}), "unauthorized")
            .await;
    }
    socket.ok(json!({"t": "reauth", "token": ada.access})).await;
}
