//! Two nodes that project the same log at once, in batches of their own and broken off at any point, end in exactly what one
//! would have made; and whoever reads meanwhile sees one commit and never a half of it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{ChatStore, Sought};
use rookery_node::adapters::mongo::{Mongo, MongoChats};
use rookery_node::adapters::sqlite::{SqliteChats, schema};

use super::story::{Chat, Dice};
use super::{open, support};

/// A log and who is in it.
pub struct Story {
    pub users: Vec<UserId>,
    pub chats: Vec<Chat>,
}

impl Story {
    pub fn made_up(dice: &mut Dice, chats: usize, records: usize) -> Arc<Self> {
        let users: Vec<_> = (0..6).map(|_| UserId::fresh()).collect();
        let chats = (0..chats).map(|_| Chat::made_up(dice, &users, records)).collect();
        Arc::new(Self { users, chats })
    }

    /// The batch after these positions, which it moves; nothing when all are at the end.
    fn batch(&self, dice: &mut Dice, positions: &mut [usize]) -> Vec<rookery_actors::ports::chats::Projection> {
        let mut batch = Vec::new();
        for (chat, position) in self.chats.iter().zip(positions) {
            let left = chat.records.len() - *position;
            let count = (1 + dice.below(6) as usize).min(left);
            if count > 0 {
                batch.push(chat.projection(*position, *position + count));
                *position += count;
            }
        }
        batch
    }
}

/// Where a node starts that takes over now: at what is stored.
async fn taken_over(store: &dyn ChatStore, story: &Story) -> Vec<usize> {
    let mut positions = Vec::new();
    for chat in &story.chats {
        let snapshot = loop {
            match store.conversation(chat.id).await {
                Ok(snapshot) => break snapshot,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        positions.push(snapshot.map_or(0, |snapshot| snapshot.applied as usize));
    }
    positions
}

/// Projects a log to its end. Now and then it breaks off in the middle of a batch, as a node does that dies, and goes on as
/// its successor: from what is stored. A batch that fails is tried again until it is taken.
pub async fn project(store: Arc<dyn ChatStore>, story: Arc<Story>, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut positions = vec![0; story.chats.len()];
    loop {
        let batch = story.batch(&mut dice, &mut positions);
        if batch.is_empty() {
            return;
        }
        let patience = match dice.one_in(4) {
            true => Duration::from_micros(dice.below(8_000)),
            false => Duration::from_secs(600),
        };
        let taken = async {
            while store.project(batch.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(patience, taken).await.is_err() {
            positions = taken_over(store.as_ref(), &story).await;
        }
    }
}

/// Reads until told to stop: each snapshot is what the log says of its offset, and history has no hole.
async fn watch(store: Arc<dyn ChatStore>, story: Arc<Story>, over: Arc<AtomicBool>) -> usize {
    let mut seen = 0;
    while !over.load(Ordering::Relaxed) {
        for chat in &story.chats {
            let Some(snapshot) = store.conversation(chat.id).await.expect("conversation") else {
                continue;
            };
            let record = &chat.records[snapshot.applied as usize - 1];
            assert_eq!(snapshot.head, record.head, "the head as of {}", snapshot.applied);
            assert_eq!(
                snapshot.members, record.members,
                "the members as of {}",
                snapshot.applied
            );
            assert!(snapshot.recent.iter().all(|recent| recent.seq <= snapshot.head));
            let entries = store.entries(chat.id, 0, u64::MAX, usize::MAX).await.expect("entries");
            assert!(
                entries.len() as u64 >= snapshot.head,
                "nothing of what was committed is missing"
            );
            assert!((1..).zip(&entries).all(|(seq, entry)| entry.seq() == seq), "no hole");
            seen += 1;
        }
    }
    seen
}

/// Everything that can be read of a log's conversations, as text.
pub async fn everything(store: &dyn ChatStore, story: &Story) -> String {
    let mut text = String::new();
    for chat in &story.chats {
        let snapshot = store.conversation(chat.id).await.expect("conversation").expect("known");
        writeln!(text, "{snapshot:?}").unwrap();
        for entry in store.entries(chat.id, 0, u64::MAX, usize::MAX).await.expect("entries") {
            writeln!(text, "{entry:?}").unwrap();
        }
        writeln!(
            text,
            "{:?}",
            store.receipts(chat.id, None, 100).await.expect("receipts")
        )
        .unwrap();
        for user in &story.users {
            let was = store.was_member(chat.id, *user).await.expect("was_member");
            let sought = Sought {
                conversation: chat.id,
                from: *user,
                id: "client 1".into(),
            };
            let found = store.find(&[sought]).await.expect("find");
            let unread = store
                .unread(chat.id, *user, 3, snapshot.head, 99)
                .await
                .expect("unread");
            writeln!(text, "{user} {was} {found:?} {unread}").unwrap();
        }
    }
    for mut inbox in store.inboxes(&story.users).await.expect("inboxes") {
        inbox.memberships.sort_by_key(|one| one.conversation);
        writeln!(text, "{inbox:?}").unwrap();
    }
    text
}

/// What one projector makes of the log, in the embedded store.
pub async fn expected(story: &Story) -> String {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteChats::new(schema::open(&directory.path().join("store.db")).expect("the store opens"));
    let whole = story.chats.iter().map(|chat| chat.projection(0, chat.records.len()));
    // Record by record: the order of joining and leaving within a projection is its own affair.
    for chat in &story.chats {
        for record in 0..chat.records.len() {
            store
                .project(vec![chat.projection(record, record + 1)])
                .await
                .expect("project");
        }
    }
    store.project(whole.collect()).await.expect("project again");
    everything(&store, story).await
}

async fn race(seed: u64) {
    let mut dice = Dice::new(seed);
    let story = Story::made_up(&mut dice, 3, 40);
    let database = support::fresh("race");
    // Each node has its own connections.
    let nodes: Vec<Mongo> = [open(&database).await, open(&database).await, open(&database).await].into();
    let [first, second, reader]: [Arc<dyn ChatStore>; 3] =
        [0, 1, 2].map(|node: usize| Arc::new(MongoChats::new(nodes[node].clone())) as _);
    let over = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn(watch(reader, Arc::clone(&story), Arc::clone(&over)));
    let projectors = [
        tokio::spawn(project(Arc::clone(&first), Arc::clone(&story), dice.below(u64::MAX))),
        tokio::spawn(project(second, Arc::clone(&story), dice.below(u64::MAX))),
    ];
    for projector in projectors {
        projector.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    assert!(watcher.await.unwrap() > 0, "somebody read meanwhile");
    assert_eq!(
        everything(first.as_ref(), &story).await,
        expected(&story).await,
        "seed {seed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_projectors_at_once_make_what_one_makes() {
    let fresh = uuid::Uuid::now_v7().as_u64_pair().1;
    for seed in [1, 2, 3, 4, 5, 13_154_896_184_378_109_808, fresh] {
        eprintln!("seed {seed}");
        race(seed).await;
    }
}

/// A replay of the whole log over what is there changes nothing, however it is cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_changes_nothing() {
    let mut dice = Dice::new(11);
    let story = Story::made_up(&mut dice, 4, 50);
    let store: Arc<dyn ChatStore> = Arc::new(MongoChats::new(open(&support::fresh("replay")).await));
    project(Arc::clone(&store), Arc::clone(&story), 12).await;
    let before = everything(store.as_ref(), &story).await;
    for seed in [13, 14] {
        project(Arc::clone(&store), Arc::clone(&story), seed).await;
        assert_eq!(everything(store.as_ref(), &story).await, before);
    }
    let nowhere = store.conversation(ConversationId::fresh()).await.expect("conversation");
    assert_eq!(nowhere, None);
}
