//! Contract suite of [`AccountStore`].

use std::sync::Arc;

use crate::id::{DeviceId, FileId, LoginId, UserId};
use crate::ports::accounts::{
    Account, AccountPatch, AccountStore, Created, Device, Handle, NewAccount, SearchCursor, Updated,
};
use crate::protocol::Json;
use crate::time::Timestamp;

type Store = Arc<dyn AccountStore>;

/// Runs the whole suite; `fresh` opens an empty store.
pub async fn suite(fresh: impl AsyncFn() -> Store) {
    an_account_is_found_by_each_of_its_handles(fresh().await).await;
    names_are_unique_without_regard_to_case(fresh().await).await;
    a_race_for_one_name_has_one_winner(fresh().await).await;
    a_change_touches_only_what_it_names(fresh().await).await;
    an_erased_account_leaves_nothing_but_its_id(fresh().await).await;
    a_password_is_replaced_only_if_it_is_the_old_one(fresh().await).await;
    a_search_finds_prefixes_once_over_all_pages(fresh().await).await;
    a_search_takes_wildcards_literally(fresh().await).await;
    last_seen_only_grows(fresh().await).await;
    the_device_seen_longest_ago_makes_room(fresh().await).await;
    a_device_is_its_users_alone(fresh().await).await;
}

fn new(email: &str, username: &str, name: &str) -> NewAccount {
    NewAccount {
        id: UserId::fresh(),
        email: email.into(),
        username: username.into(),
        name: name.into(),
        password_hash: format!("hash of {username}"),
        created_at: Timestamp(1_000),
    }
}

async fn made(store: &Store, username: &str, name: &str) -> UserId {
    let account = new(&format!("{username}@example.com"), username, name);
    let id = account.id;
    assert_eq!(store.create(account).await.expect("create"), Created::Made);
    id
}

async fn one(store: &Store, user: UserId) -> Option<Account> {
    store.accounts(&[user]).await.expect("accounts").pop()
}

async fn an_account_is_found_by_each_of_its_handles(store: Store) {
    let ada = made(&store, "Ada", "Ada Lovelace").await;
    for handle in [
        Handle::Email("ADA@example.com".into()),
        Handle::Username("aDa".into()),
        Handle::Id(ada),
    ] {
        let found = store.credentials(&handle).await.expect("credentials").expect("found");
        assert_eq!((found.user, found.password_hash.as_str()), (ada, "hash of Ada"));
    }
    let stranger = UserId::fresh();
    let handles = [Handle::Email("Ada".into()), Handle::Id(stranger)];
    for handle in handles {
        assert!(store.credentials(&handle).await.expect("credentials").is_none());
    }
    let account = one(&store, ada).await.expect("account");
    assert_eq!(account.username, "Ada", "shown as it was written");
    assert_eq!(account.preferences.as_str(), "{}");
    assert_eq!(
        (account.created_at, account.updated_at),
        (Timestamp(1_000), Timestamp(1_000))
    );
    let bob = made(&store, "bob", "Bob").await;
    let listed = store.accounts(&[bob, stranger, ada, bob]).await.expect("accounts");
    let ids: Vec<_> = listed.iter().map(|account| account.id).collect();
    assert_eq!(ids, [bob, ada, bob]);
    assert_eq!(store.absent(&[bob, stranger, ada]).await.expect("absent"), [stranger]);
}

async fn names_are_unique_without_regard_to_case(store: Store) {
    made(&store, "ada", "Ada").await;
    let taken = new("ADA@EXAMPLE.COM", "ADA", "Other");
    assert_eq!(store.create(taken).await.expect("create"), Created::EmailTaken);
    let taken = new("other@example.com", "ADA", "Other");
    let refused = taken.id;
    assert_eq!(store.create(taken).await.expect("create"), Created::UsernameTaken);
    assert!(one(&store, refused).await.is_none());
    let bob = made(&store, "bob", "Bob").await;
    let patch = AccountPatch {
        username: Some("Ada".into()),
        name: Some("Robert".into()),
        ..AccountPatch::default()
    };
    let outcome = store.update(bob, patch, Timestamp(2_000)).await.expect("update");
    assert_eq!(outcome, Updated::UsernameTaken);
    assert_eq!(
        one(&store, bob).await.expect("bob").name,
        "Bob",
        "nothing of a refused change is done"
    );
    let patch = AccountPatch {
        username: Some("BOB".into()),
        ..AccountPatch::default()
    };
    let outcome = store.update(bob, patch, Timestamp(2_000)).await.expect("update");
    assert!(
        matches!(outcome, Updated::Account(account) if account.username == "BOB"),
        "one's own is free"
    );
}

async fn a_race_for_one_name_has_one_winner(store: Store) {
    let tries: Vec<_> = (0..8)
        .map(|nth| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.create(new(&format!("{nth}@example.com"), "same", "Same")).await })
        })
        .collect();
    let mut won = 0;
    for attempt in tries {
        let outcome = attempt.await.expect("no panic").expect("create");
        won += u32::from(outcome == Created::Made);
    }
    assert_eq!(won, 1);
}

async fn a_change_touches_only_what_it_names(store: Store) {
    let ada = made(&store, "ada", "Ada").await;
    let photo = FileId::fresh();
    let patch = AccountPatch {
        status_message: Some(Some("busy".into())),
        photo: Some(Some(photo)),
        preferences: Some(Json::from_stored(r#"{"theme":"dark"}"#)),
        ..AccountPatch::default()
    };
    let outcome = store.update(ada, patch, Timestamp(2_000)).await.expect("update");
    let account = one(&store, ada).await.expect("account");
    assert_eq!(outcome, Updated::Account(Box::new(account.clone())));
    assert_eq!((account.name.as_str(), account.username.as_str()), ("Ada", "ada"));
    assert_eq!(account.status_message.as_deref(), Some("busy"));
    assert_eq!(account.photo, Some(photo));
    assert_eq!(account.preferences.as_str(), r#"{"theme":"dark"}"#);
    assert_eq!(
        (account.created_at, account.updated_at),
        (Timestamp(1_000), Timestamp(2_000))
    );
    let patch = AccountPatch {
        status_message: Some(None),
        photo: Some(None),
        ..AccountPatch::default()
    };
    store.update(ada, patch, Timestamp(3_000)).await.expect("update");
    let account = one(&store, ada).await.expect("account");
    assert_eq!((account.status_message, account.photo), (None, None));
    assert_eq!(account.preferences.as_str(), r#"{"theme":"dark"}"#);
    let outcome = store
        .update(UserId::fresh(), AccountPatch::default(), Timestamp(1))
        .await;
    assert_eq!(outcome.expect("update"), Updated::Unknown);
}

async fn an_erased_account_leaves_nothing_but_its_id(store: Store) {
    let ada = made(&store, "ada", "Ada Lovelace").await;
    store.create_device(ada, device(1), 10).await.expect("device");
    assert!(store.erase(ada, Timestamp(2_000)).await.expect("erase"));
    assert!(!store.erase(ada, Timestamp(2_001)).await.expect("erase"), "once");
    assert!(one(&store, ada).await.is_none());
    assert_eq!(store.absent(&[ada]).await.expect("absent"), [ada]);
    for handle in [
        Handle::Email("ada@example.com".into()),
        Handle::Username("ada".into()),
        Handle::Id(ada),
    ] {
        assert!(store.credentials(&handle).await.expect("credentials").is_none());
    }
    assert!(store.search("ada", None, 10).await.expect("search").is_empty());
    assert!(store.devices(ada).await.expect("devices").is_empty());
    let patch = AccountPatch {
        name: Some("Ghost".into()),
        ..AccountPatch::default()
    };
    assert_eq!(
        store.update(ada, patch, Timestamp(3_000)).await.expect("update"),
        Updated::Unknown
    );
    assert_eq!(store.leaving().await.expect("leaving"), [ada]);
    store.forgotten(ada).await.expect("forgotten");
    assert!(store.leaving().await.expect("leaving").is_empty());
    let again = made(&store, "ada", "Ada Second").await;
    assert_ne!(again, ada);
    let mut ghost = new("ghost@example.com", "ghost", "Ghost");
    ghost.id = ada;
    assert!(store.create(ghost).await.is_err(), "an id is never used again");
}

async fn a_password_is_replaced_only_if_it_is_the_old_one(store: Store) {
    let ada = made(&store, "ada", "Ada").await;
    assert!(!store.replace_password(ada, "another", "new").await.expect("replace"));
    assert!(
        store
            .replace_password(ada, "hash of ada", "new")
            .await
            .expect("replace")
    );
    assert!(
        !store
            .replace_password(ada, "hash of ada", "newer")
            .await
            .expect("replace")
    );
    let found = store
        .credentials(&Handle::Id(ada))
        .await
        .expect("credentials")
        .expect("found");
    assert_eq!(found.password_hash, "new");
}

async fn a_search_finds_prefixes_once_over_all_pages(store: Store) {
    let john = made(&store, "jsmith", "John Smith").await;
    let smithy = made(&store, "smithy", "Smith Smithson").await;
    let ann = made(&store, "ann", "Ann Blacksmith").await;
    let zoe = made(&store, "zoe", "ÉMILE Zola").await;
    let found = pages(&store, "SMITH", 1).await;
    assert_eq!(found.len(), 2, "each once: {found:?}");
    assert!(
        found.contains(&john) && found.contains(&smithy),
        "in the middle of a word is no prefix"
    );
    assert_eq!(pages(&store, "john sm", 10).await, [john]);
    assert_eq!(pages(&store, "ann", 10).await, [ann]);
    assert_eq!(pages(&store, "émile", 10).await, [zoe]);
    let mut everybody = pages(&store, "", 2).await;
    everybody.sort();
    let mut all = [john, smithy, ann, zoe];
    all.sort();
    assert_eq!(everybody, all);
    let patch = AccountPatch {
        name: Some("Johnny".into()),
        ..AccountPatch::default()
    };
    store.update(john, patch, Timestamp(2_000)).await.expect("update");
    assert_eq!(pages(&store, "smith", 10).await, [smithy], "an old name finds nobody");
    assert_eq!(pages(&store, "johnny", 10).await, [john]);
}

async fn pages(store: &Store, prefix: &str, limit: usize) -> Vec<UserId> {
    let (mut found, mut after): (Vec<UserId>, Option<SearchCursor>) = (Vec::new(), None);
    loop {
        let page = store.search(prefix, after, limit).await.expect("search");
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return found };
        after = Some(last.cursor.clone());
        found.extend(page.iter().map(|hit| hit.account.id));
        assert!(found.len() < 100, "the cursor moves on");
    }
}

async fn a_search_takes_wildcards_literally(store: Store) {
    made(&store, "ada", "Ada").await;
    let odd = made(&store, "odd", "100% _real_").await;
    assert!(pages(&store, "%", 10).await.is_empty());
    assert!(pages(&store, "a_a", 10).await.is_empty());
    assert_eq!(pages(&store, "100%", 10).await, [odd]);
}

async fn last_seen_only_grows(store: Store) {
    let ada = made(&store, "ada", "Ada").await;
    let device = device(1);
    store.create_device(ada, device.clone(), 10).await.expect("device");
    assert_eq!(one(&store, ada).await.expect("ada").last_seen_at, None);
    for (at, expected) in [(5_000, 5_000), (4_000, 5_000), (6_000, 6_000)] {
        let users = vec![(ada, Timestamp(at)), (UserId::fresh(), Timestamp(at))];
        let devices = vec![(device.id, Timestamp(at)), (DeviceId::fresh(), Timestamp(at))];
        store.touch(users, devices).await.expect("touch");
        assert_eq!(
            one(&store, ada).await.expect("ada").last_seen_at,
            Some(Timestamp(expected))
        );
        let seen = store.devices(ada).await.expect("devices")[0].last_seen_at;
        assert_eq!(seen, Some(Timestamp(expected)));
    }
    assert_eq!(
        one(&store, ada).await.expect("ada").updated_at,
        Timestamp(1_000),
        "being seen is no change"
    );
}

/// A device of a login of its own, made and named by its number.
pub fn device(nth: i64) -> Device {
    Device {
        id: DeviceId::fresh(),
        login: LoginId::fresh(),
        name: format!("device {nth}"),
        created_at: Timestamp(nth),
        last_seen_at: None,
    }
}

async fn the_device_seen_longest_ago_makes_room(store: Store) {
    let ada = made(&store, "ada", "Ada").await;
    let bob = made(&store, "bob", "Bob").await;
    store.create_device(bob, device(0), 3).await.expect("device");
    let devices: Vec<_> = (1..=4).map(device).collect();
    for device in &devices[..3] {
        assert!(
            store
                .create_device(ada, device.clone(), 3)
                .await
                .expect("device")
                .is_empty()
        );
    }
    store
        .touch(Vec::new(), vec![(devices[0].id, Timestamp(100))])
        .await
        .expect("touch");
    let evicted = store.create_device(ada, devices[3].clone(), 3).await.expect("device");
    assert_eq!(evicted, [devices[1].id], "never seen, and made first");
    let left: Vec<_> = store
        .devices(ada)
        .await
        .expect("devices")
        .into_iter()
        .map(|device| device.id)
        .collect();
    assert_eq!(left, [devices[0].id, devices[2].id, devices[3].id]);
    let newest = device(-5);
    let evicted = store.create_device(ada, newest.clone(), 1).await.expect("device");
    assert_eq!(evicted.len(), 3);
    assert_eq!(
        store.devices(ada).await.expect("devices"),
        [newest],
        "never the new one, however old it claims to be"
    );
    assert_eq!(
        store.devices(bob).await.expect("devices").len(),
        1,
        "others keep theirs"
    );
}

async fn a_device_is_its_users_alone(store: Store) {
    let ada = made(&store, "ada", "Ada").await;
    let bob = made(&store, "bob", "Bob").await;
    let phone = device(1);
    store.create_device(ada, phone.clone(), 10).await.expect("device");
    let login = LoginId::fresh();
    assert!(!store.bind_device(bob, phone.id, login).await.expect("bind"));
    assert!(store.delete_device(bob, phone.id).await.expect("delete").is_none());
    assert_eq!(store.devices(ada).await.expect("devices"), std::slice::from_ref(&phone));
    assert!(store.bind_device(ada, phone.id, login).await.expect("bind"));
    assert_eq!(store.delete_device(ada, phone.id).await.expect("delete"), Some(login));
    assert!(store.delete_device(ada, phone.id).await.expect("delete").is_none());
    assert!(!store.bind_device(ada, phone.id, login).await.expect("bind"));
}
