//! The contract of [`FileStore`], as a test that every adapter passes.

use async_trait::async_trait;

use crate::id::{ConversationId, FileId, UserId};
use crate::ports::blobs::UploadId;
use crate::ports::files::{File, FileState, FileStore, PhotoOf};
use crate::time::Timestamp;

/// How the suite changes who is in a conversation: memberships belong to the chat store.
#[async_trait]
pub trait Rosters: Send + Sync {
    async fn join(&self, conversation: ConversationId, user: UserId);
    async fn leave(&self, conversation: ConversationId, user: UserId);
}

/// Holds an adapter, empty at first, to every promise of the port.
pub async fn file_store_contract(store: &dyn FileStore, rosters: &dyn Rosters) {
    a_file_comes_back_as_it_was_created(store).await;
    pending_files_of_an_owner_are_bounded(store).await;
    only_a_living_file_becomes_ready(store).await;
    only_its_owner_deletes_a_file(store).await;
    only_the_owner_makes_a_ready_file_a_photo(store).await;
    members_read_what_was_sent_to_them_while_they_are_members(store, rosters).await;
    a_grant_is_all_or_nothing(store, rosters).await;
    what_only_a_departed_owner_may_read_is_deleted(store, rosters).await;
    what_is_stale_is_found_and_forgotten(store).await;
}

const MANY: usize = 100;

/// A file of that owner, pending.
pub fn pending(owner: UserId) -> File {
    File {
        id: FileId::fresh(),
        owner,
        name: "grüße \"1\".txt".into(),
        media_type: "text/plain; charset=utf-8".into(),
        size: 5 * 1024 * 1024 * 1024,
        sha256: None,
        state: FileState::Pending,
        upload: None,
        photo: None,
        created_at: Timestamp(1_000),
    }
}

async fn created(store: &dyn FileStore, file: &File) {
    assert!(store.create(file.clone(), MANY).await.expect("create"));
}

async fn ready(store: &dyn FileStore, owner: UserId) -> FileId {
    let file = pending(owner);
    created(store, &file).await;
    assert!(store.finish(file.id).await.expect("finish"));
    file.id
}

async fn reads(store: &dyn FileStore, user: UserId, file: FileId) -> bool {
    let found = store.readable(user, &[file]).await.expect("readable");
    assert!(
        found
            .iter()
            .all(|found| found.id == file && found.state == FileState::Ready)
    );
    !found.is_empty()
}

async fn a_file_comes_back_as_it_was_created(store: &dyn FileStore) {
    let owner = UserId::fresh();
    let plain = pending(owner);
    let full = File {
        sha256: Some([7; 32]),
        upload: Some(UploadId("some upload".into())),
        ..pending(owner)
    };
    for file in [plain, full] {
        created(store, &file).await;
        assert_eq!(store.file(file.id).await.expect("file"), Some(file));
    }
    assert_eq!(store.file(FileId::fresh()).await.expect("file"), None);
}

async fn pending_files_of_an_owner_are_bounded(store: &dyn FileStore) {
    let owner = UserId::fresh();
    let first = pending(owner);
    assert!(store.create(first.clone(), 2).await.expect("create"));
    assert!(store.create(pending(owner), 2).await.expect("create"));
    let third = pending(owner);
    assert!(!store.create(third.clone(), 2).await.expect("create"));
    assert_eq!(store.file(third.id).await.expect("file"), None);
    assert!(
        store.create(pending(UserId::fresh()), 2).await.expect("create"),
        "another's do not count"
    );
    assert!(store.finish(first.id).await.expect("finish"));
    assert!(
        store.create(third, 2).await.expect("create"),
        "a ready one no longer counts"
    );
}

async fn only_a_living_file_becomes_ready(store: &dyn FileStore) {
    let owner = UserId::fresh();
    let file = File {
        upload: Some(UploadId("u".into())),
        ..pending(owner)
    };
    created(store, &file).await;
    assert!(!reads(store, owner, file.id).await, "a pending file is read by nobody");
    assert!(store.finish(file.id).await.expect("finish"));
    assert!(store.finish(file.id).await.expect("a second time"));
    let stored = store.file(file.id).await.expect("file").expect("is there");
    assert_eq!((stored.state, stored.upload), (FileState::Ready, None));
    assert!(reads(store, owner, file.id).await);
    assert!(store.delete(file.id, owner, Timestamp(2_000)).await.expect("delete"));
    assert!(!store.finish(file.id).await.expect("finish"));
    assert!(!store.finish(FileId::fresh()).await.expect("finish"));
}

async fn only_its_owner_deletes_a_file(store: &dyn FileStore) {
    let owner = UserId::fresh();
    let file = ready(store, owner).await;
    assert!(
        !store
            .delete(file, UserId::fresh(), Timestamp(2_000))
            .await
            .expect("delete")
    );
    assert!(reads(store, owner, file).await);
    assert!(store.delete(file, owner, Timestamp(2_000)).await.expect("delete"));
    assert!(!store.delete(file, owner, Timestamp(3_000)).await.expect("delete"));
    assert!(!reads(store, owner, file).await);
    let stored = store.file(file).await.expect("file").expect("waits for the sweep");
    assert_eq!(stored.state, FileState::Deleted);
}

async fn only_the_owner_makes_a_ready_file_a_photo(store: &dyn FileStore) {
    let (owner, other) = (UserId::fresh(), UserId::fresh());
    let file = pending(owner);
    created(store, &file).await;
    assert!(
        !store.mark_photo(file.id, owner, PhotoOf::User).await.expect("mark"),
        "it is not ready"
    );
    assert!(store.finish(file.id).await.expect("finish"));
    assert!(
        !store.mark_photo(file.id, other, PhotoOf::User).await.expect("mark"),
        "it is another's"
    );
    assert!(!reads(store, other, file.id).await);
    assert!(store.mark_photo(file.id, owner, PhotoOf::User).await.expect("mark"));
    assert!(
        store
            .mark_photo(file.id, owner, PhotoOf::User)
            .await
            .expect("a second time")
    );
    assert!(reads(store, other, file.id).await, "a photo is for everybody");
    assert!(store.delete(file.id, owner, Timestamp(2_000)).await.expect("delete"));
    assert!(!reads(store, other, file.id).await);
    assert!(!store.mark_photo(file.id, owner, PhotoOf::User).await.expect("mark"));
}

async fn members_read_what_was_sent_to_them_while_they_are_members(store: &dyn FileStore, rosters: &dyn Rosters) {
    let (owner, member, stranger) = (UserId::fresh(), UserId::fresh(), UserId::fresh());
    let (group, elsewhere) = (ConversationId::fresh(), ConversationId::fresh());
    let file = ready(store, owner).await;
    rosters.join(group, member).await;
    rosters.join(elsewhere, stranger).await;
    assert!(!reads(store, member, file).await, "it was not sent yet");
    assert!(store.grant(owner, group, &[file]).await.expect("grant"));
    assert!(store.grant(owner, group, &[file]).await.expect("a second time"));
    assert!(reads(store, member, file).await);
    assert!(reads(store, owner, file).await, "the uploader need not be a member");
    assert!(!reads(store, stranger, file).await);
    rosters.leave(group, member).await;
    assert!(!reads(store, member, file).await, "who left reads nothing");
    rosters.join(group, member).await;
    assert!(reads(store, member, file).await);
    assert!(
        store
            .grant(member, elsewhere, &[file])
            .await
            .expect("who may read may pass on")
    );
    assert!(reads(store, stranger, file).await);
    assert!(store.delete(file, owner, Timestamp(2_000)).await.expect("delete"));
    assert!(!reads(store, member, file).await);
}

async fn a_grant_is_all_or_nothing(store: &dyn FileStore, rosters: &dyn Rosters) {
    let (owner, member) = (UserId::fresh(), UserId::fresh());
    let group = ConversationId::fresh();
    rosters.join(group, member).await;
    let (mine, others) = (ready(store, owner).await, ready(store, UserId::fresh()).await);
    let waiting = pending(owner);
    created(store, &waiting).await;
    for wrong in [others, waiting.id, FileId::fresh()] {
        assert!(!store.grant(owner, group, &[mine, wrong]).await.expect("grant"));
        assert!(!reads(store, member, mine).await);
    }
    assert!(
        store
            .grant(owner, group, &[mine, mine])
            .await
            .expect("a repeat in the list")
    );
    let second = ready(store, owner).await;
    assert!(store.grant(owner, group, &[second]).await.expect("grant"));
    let found = store
        .readable(member, &[second, others, mine, second])
        .await
        .expect("readable");
    let found: Vec<_> = found.iter().map(|file| file.id).collect();
    assert_eq!(found, [second, mine], "in the order asked, each once");
    assert!(store.grant(owner, group, &[]).await.expect("an empty list"));
}

async fn what_only_a_departed_owner_may_read_is_deleted(store: &dyn FileStore, rosters: &dyn Rosters) {
    let (owner, other) = (UserId::fresh(), UserId::fresh());
    let group = ConversationId::fresh();
    rosters.join(group, other).await;
    let upload = pending(owner);
    created(store, &upload).await;
    let [unsent, sent, photo, sent_photo, group_photo] = [
        ready(store, owner).await,
        ready(store, owner).await,
        ready(store, owner).await,
        ready(store, owner).await,
        ready(store, owner).await,
    ];
    for file in [photo, sent_photo, group_photo] {
        assert!(store.mark_photo(file, owner, PhotoOf::User).await.expect("mark"));
    }
    assert!(
        store
            .mark_photo(group_photo, owner, PhotoOf::Group)
            .await
            .expect("mark")
    );
    assert!(store.mark_photo(group_photo, owner, PhotoOf::User).await.expect("mark"));
    assert!(store.grant(owner, group, &[sent, sent_photo]).await.expect("grant"));
    let others = ready(store, other).await;

    for _ in 0..2 {
        store.abandon(owner, Timestamp(5_000)).await.expect("abandon");
        for gone in [upload.id, unsent, photo] {
            let stored = store.file(gone).await.expect("file").expect("waits for the sweep");
            assert_eq!(stored.state, FileState::Deleted);
            assert!(!reads(store, other, gone).await);
        }
        for kept in [sent, sent_photo, group_photo, others] {
            assert!(reads(store, other, kept).await);
        }
        let stranger = UserId::fresh();
        assert!(reads(store, stranger, group_photo).await, "it is the group's");
        assert!(!reads(store, stranger, sent_photo).await, "it is nobody's photo now");
    }
    let swept = store.stale(Timestamp(5_001), 100).await.expect("stale");
    let swept: Vec<_> = swept.iter().map(|file| file.id).collect();
    assert!([upload.id, unsent, photo].iter().all(|gone| swept.contains(gone)));
    store.forget(&[upload.id, unsent, photo]).await.expect("forget");
}

async fn what_is_stale_is_found_and_forgotten(store: &dyn FileStore) {
    let owner = UserId::fresh();
    // Older than whatever else the suite made, so that other files cannot stand before these.
    let old = File {
        created_at: Timestamp(-500),
        ..pending(owner)
    };
    created(store, &old).await;
    let kept = File {
        created_at: Timestamp(-900),
        ..pending(owner)
    };
    created(store, &kept).await;
    assert!(store.finish(kept.id).await.expect("finish"));
    let deleted = ready(store, owner).await;
    assert!(store.delete(deleted, owner, Timestamp(-700)).await.expect("delete"));

    let stale = store.stale(Timestamp(0), 10).await.expect("stale");
    let ids: Vec<_> = stale.iter().map(|file| file.id).collect();
    assert_eq!(ids, [deleted, old.id], "oldest first, and never a ready one");
    assert_eq!(store.stale(Timestamp(0), 1).await.expect("stale").len(), 1);
    assert!(store.stale(Timestamp(-800), 10).await.expect("stale").is_empty());

    store.forget(&[old.id, deleted, kept.id]).await.expect("forget");
    assert_eq!(store.file(old.id).await.expect("file"), None);
    assert_eq!(store.file(deleted).await.expect("file"), None);
    assert!(reads(store, owner, kept.id).await, "a ready one stays");
}
