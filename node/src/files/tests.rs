//! The service over the embedded adapters.

use std::path::Path;

use rookery_actors::ports::chats::{ChatStore, Member, Projection, Step};
use rookery_actors::protocol::view::Role;
use rookery_actors::testkit::blobs::Requests;
use rookery_cluster::id::ShardId;

use super::*;
use crate::adapters::blobs::DirBlobs;
use crate::adapters::sqlite::files::SqliteFiles;
use crate::adapters::sqlite::{SqliteChats, schema};

/// A day and an hour: beyond what the sweep spares.
const LONG_MS: i64 = 25 * 60 * 60 * 1000;

struct World {
    files: Files,
    blobs: DirBlobs,
    chats: SqliteChats,
}

fn open(dir: &Path) -> World {
    let db = schema::open(&dir.join("store.db")).expect("the database opens");
    let blobs = DirBlobs::open(&dir.join("blobs"), &dir.join("keys/blobs.key")).expect("the directory opens");
    let store = Arc::new(SqliteFiles::new(db.clone()));
    World {
        files: Files::new(store, Arc::new(blobs.clone()), 1 << 30),
        blobs,
        chats: SqliteChats::new(db),
    }
}

fn world() -> (tempfile::TempDir, World) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let world = open(dir.path());
    (dir, world)
}

fn new(size: usize, sha256: Option<&str>) -> NewFile {
    NewFile {
        name: "photo.png".into(),
        media_type: "image/png".into(),
        size: size as u64,
        sha256: sha256.map(String::from),
    }
}

impl World {
    async fn announced(&self, user: UserId, new: NewFile) -> (FileId, Presigned) {
        let created = self.files.create(user, new).await.expect("create");
        match created.upload {
            Upload::Whole(request) => (created.file.id, request),
            Upload::Parts(_) => panic!("a small file has no parts"),
        }
    }

    async fn ready(&self, user: UserId, body: &[u8]) -> FileId {
        let (id, request) = self.announced(user, new(body.len(), None)).await;
        assert_eq!(self.blobs.make(&request, body, None).await.status, 200);
        self.files.complete(user, id, None).await.expect("complete");
        id
    }

    async fn reads(&self, user: UserId, id: FileId) -> Result<Vec<u8>, ErrorCode> {
        let download = self.files.download(user, id).await.map_err(|problem| problem.code)?;
        Ok(self.blobs.make(&download.request, b"", None).await.body)
    }

    /// Makes a conversation of one member.
    async fn join(&self, conversation: ConversationId, user: UserId) {
        let member = Member {
            user,
            role: Role::Member,
            joined_at: Timestamp(0),
            joined_seq: 0,
            admin_since: None,
        };
        let projection = Projection {
            conversation,
            shard: ShardId(0),
            applied: 1,
            head: 0,
            active_at: Timestamp(0),
            steps: vec![Step::Joined(vec![member])],
        };
        self.chats.project(vec![projection]).await.expect("a membership");
    }

    async fn complete(&self, user: UserId, id: FileId) -> Result<FileState, ErrorCode> {
        let completed = self.files.complete(user, id, None).await;
        completed.map(|file| file.state).map_err(|problem| problem.code)
    }
}

#[tokio::test]
async fn a_file_is_read_once_it_is_complete_and_only_by_those_it_was_sent_to() {
    let (_dir, world) = world();
    let (owner, member, stranger) = (UserId::fresh(), UserId::fresh(), UserId::fresh());
    let group = ConversationId::fresh();
    world.join(group, member).await;
    let (id, request) = world.announced(owner, new(5, None)).await;
    assert_eq!(
        world.complete(owner, id).await,
        Err(ErrorCode::Conflict),
        "nothing was uploaded"
    );
    assert_eq!(world.reads(owner, id).await, Err(ErrorCode::NotFound));
    assert_eq!(world.blobs.make(&request, b"hello", None).await.status, 200);
    assert_eq!(world.complete(stranger, id).await, Err(ErrorCode::NotFound));
    let early = world
        .files
        .share(owner, group, &[id])
        .await
        .expect_err("it is not complete");
    assert_eq!(early.code, ErrorCode::InvalidField);
    assert_eq!(world.complete(owner, id).await, Ok(FileState::Ready));
    assert_eq!(
        world.complete(owner, id).await,
        Ok(FileState::Ready),
        "a repeat answers alike"
    );

    assert_eq!(world.reads(owner, id).await, Ok(b"hello".to_vec()));
    assert_eq!(world.reads(member, id).await, Err(ErrorCode::NotFound));
    let foreign = world.files.share(stranger, group, &[id]).await;
    assert_eq!(foreign.expect_err("it is another's").code, ErrorCode::NotFound);
    world.files.share(owner, group, &[id]).await.expect("share");
    assert_eq!(world.reads(member, id).await, Ok(b"hello".to_vec()));
    assert_eq!(world.reads(stranger, id).await, Err(ErrorCode::NotFound));

    for (user, code) in [(member, ErrorCode::Forbidden), (stranger, ErrorCode::NotFound)] {
        let refused = world
            .files
            .delete(user, id)
            .await
            .expect_err("only the uploader deletes");
        assert_eq!(refused.code, code);
    }
    let url = world.files.download(member, id).await.expect("download").request;
    world.files.delete(owner, id).await.expect("delete");
    world.files.delete(owner, id).await.expect("a repeat answers alike");
    assert_eq!(world.reads(owner, id).await, Err(ErrorCode::NotFound));
    assert_eq!(
        world.blobs.make(&url, b"", None).await.status,
        404,
        "an old url reads nothing"
    );
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_and_the_upload_may_be_made_again() {
    const OF_HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let (_dir, world) = world();
    let owner = UserId::fresh();
    let (id, request) = world.announced(owner, new(5, Some(OF_HELLO))).await;
    assert_eq!(world.blobs.make(&request, b"jello", None).await.status, 200);
    let refused = world
        .files
        .complete(owner, id, None)
        .await
        .expect_err("another content");
    assert_eq!(
        (refused.code, refused.errors[0].field.as_str()),
        (ErrorCode::InvalidField, "sha256")
    );
    assert_eq!(world.complete(owner, id).await, Err(ErrorCode::Conflict), "it is gone");
    assert_eq!(world.blobs.make(&request, b"hello", None).await.status, 200);
    assert_eq!(world.complete(owner, id).await, Ok(FileState::Ready));
}

#[tokio::test]
async fn a_large_file_is_uploaded_in_parts_across_a_restart() {
    let (dir, world) = world();
    let owner = UserId::fresh();
    let size = MULTIPART_ABOVE as usize + 1;
    let body: Vec<u8> = (0..size).map(|at| (at / 1_000) as u8).collect();
    let created = world.files.create(owner, new(size, None)).await.expect("create");
    let id = created.file.id;
    let Upload::Parts(parts) = created.upload else {
        panic!("a large file has parts");
    };
    assert_eq!(parts.len(), 7);
    let each = parts[0].0.size as usize;
    let mut etags = Vec::new();
    let mut world = world;
    for (at, (part, request)) in parts.iter().enumerate().rev() {
        if at == 3 {
            drop(world);
            world = open(dir.path());
        }
        let start = (part.number as usize - 1) * each;
        let answer = world
            .blobs
            .make(request, &body[start..start + part.size as usize], None)
            .await;
        etags.push(Part {
            number: part.number,
            etag: answer.etag.expect("a part has an etag"),
        });
    }
    let missing = world.files.complete(owner, id, Some(etags[1..].to_vec())).await;
    assert_eq!(missing.expect_err("a part is missing").code, ErrorCode::InvalidField);
    let mut wrong = etags.clone();
    wrong[0].etag = wrong[1].etag.clone();
    let wrong = world.files.complete(owner, id, Some(wrong)).await;
    assert_eq!(wrong.expect_err("an etag is wrong").code, ErrorCode::InvalidField);
    world.files.complete(owner, id, Some(etags)).await.expect("complete");
    let download = world.files.download(owner, id).await.expect("download").request;
    let range = format!("bytes={}-{}", each - 2, each + 2);
    let answer = world.blobs.make(&download, b"", Some(&range)).await;
    assert_eq!(answer.body, body[each - 2..each + 3]);
    assert_eq!(
        answer.content_range,
        Some(format!("bytes {}-{}/{size}", each - 2, each + 2))
    );
}

#[tokio::test]
async fn only_an_own_ready_image_becomes_a_photo() {
    let (_dir, world) = world();
    let (owner, other) = (UserId::fresh(), UserId::fresh());
    let refused = |outcome: Result<(), Problem>| {
        let problem = outcome.expect_err("it is refused");
        (problem.code, problem.errors[0].field.clone())
    };
    let photo_field = (ErrorCode::InvalidField, "photo".to_owned());
    let (pending, _) = world.announced(owner, new(5, None)).await;
    let image = world.ready(owner, b"image").await;
    let text = NewFile {
        media_type: "text/plain".into(),
        ..new(4, None)
    };
    let (text, request) = world.announced(owner, text).await;
    world.blobs.make(&request, b"text", None).await;
    world.complete(owner, text).await.expect("complete");
    for (user, file) in [
        (owner, pending),
        (owner, text),
        (other, image),
        (owner, FileId::fresh()),
    ] {
        assert_eq!(
            refused(world.files.adopt_photo(user, file, PhotoOf::User).await),
            photo_field
        );
    }
    assert!(world.files.photo(image).await.is_err(), "it is no photo yet");
    assert_eq!(world.reads(other, image).await, Err(ErrorCode::NotFound));
    world
        .files
        .adopt_photo(owner, image, PhotoOf::User)
        .await
        .expect("adopt");
    assert_eq!(world.reads(other, image).await, Ok(b"image".to_vec()));
    assert!(world.files.photo(image).await.is_ok());
    world.files.delete(owner, image).await.expect("delete");
    assert!(world.files.photo(image).await.is_err());
}

#[tokio::test]
async fn what_was_abandoned_is_swept_and_what_is_ready_stays() {
    let (_dir, world) = world();
    let owner = UserId::fresh();
    let kept = world.ready(owner, b"kept").await;
    let deleted = world.ready(owner, b"deleted").await;
    world.files.delete(owner, deleted).await.expect("delete");
    let (uploaded, request) = world.announced(owner, new(5, None)).await;
    world.blobs.make(&request, b"hello", None).await;
    let large = world
        .files
        .create(owner, new(MULTIPART_ABOVE as usize + 1, None))
        .await
        .expect("create");

    let now = Timestamp::now();
    assert_eq!(world.files.sweep(now).await.expect("sweep"), 0);
    assert_eq!(world.files.sweep(Timestamp(now.0 + LONG_MS)).await.expect("sweep"), 3);
    assert_eq!(world.complete(owner, uploaded).await, Err(ErrorCode::NotFound));
    assert_eq!(world.complete(owner, large.file.id).await, Err(ErrorCode::NotFound));
    assert_eq!(world.blobs.head(uploaded).await.expect("head"), None);
    assert_eq!(world.reads(owner, kept).await, Ok(b"kept".to_vec()));
}

#[tokio::test]
async fn a_user_has_a_bounded_number_of_uploads_under_way() {
    let (_dir, world) = world();
    let owner = UserId::fresh();
    let (first, _) = world.announced(owner, new(1, None)).await;
    for _ in 1..MOST_PENDING {
        world.announced(owner, new(1, None)).await;
    }
    let refused = world
        .files
        .create(owner, new(1, None))
        .await
        .err()
        .expect("one too many");
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!(refused.retry_after_ms.is_some());
    world.announced(UserId::fresh(), new(1, None)).await;
    world.files.delete(owner, first).await.expect("delete");
    world.announced(owner, new(1, None)).await;
}
