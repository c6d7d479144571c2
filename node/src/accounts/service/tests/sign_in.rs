//! Sign-up, log-in, tokens, and their end.

use super::*;

#[tokio::test]
async fn who_signs_up_is_signed_in() {
    let world = world().await;
    let ada = world.signup("ada").await;
    assert_eq!(world.caller(&ada).user, ada.user.user.id);
    let json = serde_json::to_value(&ada).unwrap();
    assert_eq!(json["user"]["email"], "ada@example.com");
    assert_eq!(json["user"]["preferences"], serde_json::json!({}));
    assert_eq!(
        (&json["token_type"], &json["expires_in"]),
        (&"Bearer".into(), &900.into())
    );
    for email in [true, false] {
        let mut request = login_as("ADA", "correct horse");
        if email {
            request.username = None;
            request.email = Some("Ada@Example.com".into());
        }
        let again = world.accounts.login(request, HOME).await.unwrap();
        assert_eq!(again.user.user.id, ada.user.user.id);
        assert_ne!(world.caller(&again).login, world.caller(&ada).login);
    }
}

#[tokio::test]
async fn a_username_is_derived_and_made_unique() {
    let world = world().await;
    let of = |domain: &str| SignupRequest {
        email: Some(format!("ada@{domain}")),
        name: Some("Ada".into()),
        password: Some("correct horse".into()),
        username: None,
    };
    let one = world.accounts.signup(of("one.example"), HOME).await.unwrap();
    let two = world.accounts.signup(of("two.example"), HOME).await.unwrap();
    assert_eq!(one.user.user.username, "ada");
    assert!(two.user.user.username.starts_with("ada-"), "{}", two.user.user.username);
    assert_eq!(
        code(world.accounts.signup(of("ONE.example"), HOME).await),
        Some(ErrorCode::EmailTaken)
    );
    let mut named = of("three.example");
    named.username = Some("ADA".into());
    assert_eq!(
        code(world.accounts.signup(named, HOME).await),
        Some(ErrorCode::UsernameTaken)
    );
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_look_alike() {
    let world = world().await;
    world.signup("ada").await;
    let wrong = world.login("ada", "incorrect horse").await.err().unwrap();
    let unknown = world.login("eve", "correct horse").await.err().unwrap();
    assert_eq!(wrong, unknown);
    assert_eq!(wrong.code, ErrorCode::BadCredentials);
    assert_eq!(
        code(world.accounts.login(LoginRequest::default(), HOME).await),
        Some(ErrorCode::InvalidField)
    );
}

#[tokio::test]
async fn a_spent_refresh_token_ends_the_login_and_its_sockets() {
    let mut world = world().await;
    let ada = world.signup("ada").await;
    let caller = world.caller(&ada);
    let pair = world.accounts.refresh(&ada.tokens.refresh_token).await.unwrap();
    assert_eq!(
        world.accounts.authenticate(&pair.access_token).unwrap().login,
        caller.login
    );
    let reused = world.accounts.refresh(&ada.tokens.refresh_token).await;
    assert_eq!(code(reused), Some(ErrorCode::RefreshReused));
    assert_eq!(world.refusal(&ada), Some(ErrorCode::Unauthorized));
    assert_eq!(
        code(world.accounts.refresh(&pair.refresh_token).await),
        Some(ErrorCode::Unauthorized)
    );
    assert_eq!(world.asked.recv().await, Some(Asked::Close(caller.user, caller.login)));
    assert_eq!(
        code(world.accounts.refresh("nonsense").await),
        Some(ErrorCode::Unauthorized)
    );
}

#[tokio::test]
async fn logging_out_ends_this_login_or_all() {
    let mut world = world().await;
    let here = world.signup("ada").await;
    let there = world.login("ada", "correct horse").await.unwrap();
    let (user, first) = (here.user.user.id, world.caller(&here).login);
    world.accounts.logout(world.caller(&here)).await.unwrap();
    assert_eq!(world.refusal(&here), Some(ErrorCode::Unauthorized));
    assert_eq!(world.refusal(&there), None);
    assert_eq!(world.asked.recv().await, Some(Asked::Close(user, first)));
    let third = world.login("ada", "correct horse").await.unwrap();
    world.accounts.logout_everywhere(world.caller(&third)).await.unwrap();
    for ended in [&there, &third] {
        assert_eq!(world.refusal(ended), Some(ErrorCode::Unauthorized));
        assert_eq!(
            code(world.accounts.refresh(&ended.tokens.refresh_token).await),
            Some(ErrorCode::Unauthorized)
        );
    }
}

#[tokio::test]
async fn a_new_password_ends_the_other_logins() {
    let world = world().await;
    let here = world.signup("ada").await;
    let there = world.login("ada", "correct horse").await.unwrap();
    let change = |old: &str, new: &str| PasswordRequest {
        old: Some(old.into()),
        new: Some(new.into()),
    };
    let caller = world.caller(&here);
    let wrong = world
        .accounts
        .change_password(caller, change("wrong", "battery staple"), HOME)
        .await;
    assert_eq!(code(wrong), Some(ErrorCode::BadCredentials));
    assert_eq!(world.refusal(&there), None);
    let short = world
        .accounts
        .change_password(caller, change("correct horse", "short"), HOME)
        .await;
    assert_eq!(code(short), Some(ErrorCode::InvalidField));
    world
        .accounts
        .change_password(caller, change("correct horse", "battery staple"), HOME)
        .await
        .unwrap();
    assert_eq!(world.refusal(&here), None);
    assert_eq!(world.refusal(&there), Some(ErrorCode::Unauthorized));
    assert_eq!(
        code(world.login("ada", "correct horse").await),
        Some(ErrorCode::BadCredentials)
    );
    world.login("ada", "battery staple").await.unwrap();
}

#[tokio::test]
async fn revocations_and_keys_outlive_a_restart() {
    let world = world().await;
    let (gone, kept) = (world.signup("ada").await, world.signup("bob").await);
    world.accounts.logout(world.caller(&gone)).await.unwrap();
    let World {
        directory, accounts, ..
    } = world;
    drop(accounts);
    let world = open(directory, Limits::default()).await;
    assert_eq!(world.refusal(&gone), Some(ErrorCode::Unauthorized));
    assert_eq!(world.refusal(&kept), None);
}

#[tokio::test]
async fn an_address_that_tries_too_often_is_told_to_wait() {
    let limits = Limits {
        signups_per_minute: 1,
        logins_per_minute: 2,
        ..Limits::default()
    };
    let world = open(tempfile::tempdir().unwrap(), limits).await;
    world.signup("ada").await;
    let refused = world
        .accounts
        .signup(SignupRequest::default(), HOME)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!(refused.retry_after_ms.is_some_and(|wait| (1..=60_000).contains(&wait)));
    for _ in 0..2 {
        assert_eq!(code(world.login("ada", "wrong").await), Some(ErrorCode::BadCredentials));
    }
    assert_eq!(
        code(world.login("ada", "correct horse").await),
        Some(ErrorCode::RateLimited)
    );
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    world
        .accounts
        .login(login_as("ada", "correct horse"), elsewhere)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_rotated_key_logs_nobody_out() {
    let world = world().await;
    let ada = world.signup("ada").await;
    world.accounts.0.keys.rotate().unwrap();
    assert_eq!(world.refusal(&ada), None);
    let pair = world.accounts.refresh(&ada.tokens.refresh_token).await.unwrap();
    world.accounts.authenticate(&pair.access_token).unwrap();
}
