//! Profiles, devices, and the end of accounts.

use rookery_actors::time::Timestamp;

use super::*;

#[tokio::test]
async fn an_erased_account_is_gone_and_its_names_are_free() {
    let mut world = world().await;
    let ada = world.signup("ada").await;
    let caller = world.caller(&ada);
    world.accounts.delete_account(caller).await.unwrap();
    assert_eq!(world.refusal(&ada), Some(ErrorCode::Unauthorized));
    assert_eq!(code(world.accounts.user(caller.user).await), Some(ErrorCode::NotFound));
    assert_eq!(
        code(world.accounts.require(&[caller.user]).await),
        Some(ErrorCode::NotFound)
    );
    assert_eq!(
        code(world.login("ada", "correct horse").await),
        Some(ErrorCode::BadCredentials)
    );
    // The task that sees to it may have seen it too, and asks the same once more.
    let mut wanted = vec![Asked::ForgetUser(caller.user), Asked::Close(caller.user, caller.login)];
    while !wanted.is_empty() {
        let asked = world.asked.recv().await.unwrap();
        wanted.retain(|wanted| *wanted != asked);
    }
    assert!(world.store.leaving().await.unwrap().is_empty());
    let again = world.signup("ada").await;
    assert_ne!(again.user.user.id, caller.user);
}

#[tokio::test]
async fn memberships_that_could_not_be_ended_are_ended_after_a_restart() {
    let world = world().await;
    let ada = world.signup("ada").await;
    world.chats.away.store(true, Ordering::SeqCst);
    let caller = world.caller(&ada);
    world.accounts.delete_account(caller).await.unwrap();
    assert_eq!(world.store.leaving().await.unwrap(), [caller.user]);
    let World {
        directory, accounts, ..
    } = world;
    drop(accounts);
    let mut world = open(directory, Limits::default()).await;
    while world.asked.recv().await.unwrap() != Asked::ForgetUser(caller.user) {}
}

#[tokio::test]
async fn a_log_in_binds_only_a_device_of_its_user() {
    let mut world = world().await;
    let (ada, bob) = (world.signup("ada").await, world.signup("bob").await);
    let phone = Device {
        id: DeviceId::fresh(),
        login: world.caller(&ada).login,
        name: "phone".into(),
        created_at: Timestamp(1),
        last_seen_at: None,
    };
    world
        .store
        .create_device(ada.user.user.id, phone.clone(), 10)
        .await
        .unwrap();
    for (name, device) in [("bob", phone.id.to_string()), ("ada", "nonsense".into())] {
        let mut request = login_as(name, "correct horse");
        request.device = Some(device);
        world.accounts.login(request, HOME).await.unwrap();
    }
    assert!(
        world.accounts.devices(world.caller(&ada)).await.unwrap()[0].current,
        "still the first login's"
    );
    let mut request = login_as("ada", "correct horse");
    request.device = Some(phone.id.to_string());
    let again = world.accounts.login(request, HOME).await.unwrap();
    let caller = world.caller(&again);
    assert_eq!(
        world.asked.recv().await,
        Some(Asked::Rebind(caller.user, phone.id, caller.login))
    );
    assert!(world.accounts.devices(caller).await.unwrap()[0].current);
    assert_eq!(world.refusal(&ada), None, "the old login lives on");
    let stranger = world.accounts.delete_device(world.caller(&bob), phone.id).await;
    assert_eq!(code(stranger), Some(ErrorCode::NotFound));
    world
        .accounts
        .delete_device(world.caller(&ada), phone.id)
        .await
        .unwrap();
    assert_eq!(
        world.refusal(&again),
        Some(ErrorCode::Unauthorized),
        "the device's login is revoked"
    );
    let asked = [world.asked.recv().await, world.asked.recv().await];
    assert!(
        asked.contains(&Some(Asked::ForgetDevice(caller.user, phone.id))),
        "{asked:?}"
    );
    assert!(
        asked.contains(&Some(Asked::Close(caller.user, caller.login))),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_profile_changes_and_is_found() {
    let mut world = world().await;
    let ada = world.signup("ada").await;
    world.signup("bob").await;
    let user = ada.user.user.id;
    let patch: ProfilePatch =
        serde_json::from_str(r#"{"name":"Ada King","status_message":"hi","preferences":{"b":1,"a":[2]}}"#).unwrap();
    let me = world.accounts.patch_me(user, patch.checked().unwrap()).await.unwrap();
    assert_eq!(me.preferences, serde_json::json!({"b": 1, "a": [2]}));
    assert_eq!(world.asked.recv().await, Some(Asked::Renamed(user)));
    let taken: ProfilePatch = serde_json::from_str(r#"{"username":"Bob"}"#).unwrap();
    assert_eq!(
        code(world.accounts.patch_me(user, taken.checked().unwrap()).await),
        Some(ErrorCode::UsernameTaken)
    );
    let found = world.accounts.search("KING", None, 10).await.unwrap();
    assert_eq!(found.items.len(), 1);
    assert_eq!((found.items[0].id, found.next), (user, None));
    let first = world.accounts.search("", None, 1).await.unwrap();
    let second = world.accounts.search("", first.next.as_deref(), 1).await.unwrap();
    assert_ne!(first.items[0].id, second.items[0].id);
    assert_eq!(second.next, None);
}
