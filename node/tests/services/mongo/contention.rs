//! What several nodes want at once and only some may have is decided once.

use std::collections::HashSet;
use std::sync::Arc;

use rookery_actors::id::{FileId, UserId};
use rookery_actors::ports::accounts::AccountStore;
use rookery_actors::ports::files::FileStore;
use rookery_actors::testkit::accounts::device;
use rookery_actors::testkit::files::pending;
use rookery_actors::time::Timestamp;
use rookery_node::adapters::mongo::{MongoAccounts, MongoFiles};
use tokio::task::JoinSet;

use super::{open, support};

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_never_has_more_pending_files_than_allowed() {
    let mongo = open(&support::fresh("slots")).await;
    let store = Arc::new(MongoFiles::new(mongo));
    let owner = UserId::fresh();
    for _ in 0..3 {
        let mut creating = JoinSet::new();
        for _ in 0..24 {
            let (store, file) = (Arc::clone(&store), pending(owner));
            creating.spawn(async move { (file.id, store.create(file, 5).await.expect("create")) });
        }
        let answers = creating.join_all().await;
        let made: Vec<FileId> = answers
            .into_iter()
            .filter_map(|(id, made)| made.then_some(id))
            .collect();
        assert_eq!(made.len(), 5, "no more and, as nobody gave one back, no fewer");
        for (nth, id) in made.into_iter().enumerate() {
            let given_back = match nth % 2 {
                0 => store.finish(id).await,
                _ => store.delete(id, owner, Timestamp(0)).await,
            };
            assert!(given_back.expect("given back"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_made_at_once_push_each_out_once() {
    let store = Arc::new(MongoAccounts::new(open(&support::fresh("devices")).await));
    let user = UserId::fresh();
    let mut creating = JoinSet::new();
    for nth in 0..20 {
        let store = Arc::clone(&store);
        creating.spawn(async move {
            let new = device(nth);
            let gone = store.create_device(user, new.clone(), 3).await.expect("create_device");
            assert!(!gone.contains(&new.id), "never the new one");
            (new.id, gone)
        });
    }
    let (mut made, mut gone) = (HashSet::new(), Vec::new());
    for (new, pushed_out) in creating.join_all().await {
        made.insert(new);
        gone.extend(pushed_out);
    }
    let left: HashSet<_> = store
        .devices(user)
        .await
        .expect("devices")
        .into_iter()
        .map(|left| left.id)
        .collect();
    assert_eq!((left.len(), gone.len()), (3, 17), "each that went was told of once");
    let gone: HashSet<_> = gone.into_iter().collect();
    assert!(left.is_disjoint(&gone) && left.union(&gone).copied().collect::<HashSet<_>>() == made);
}
