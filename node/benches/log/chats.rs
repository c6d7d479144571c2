//! The store: projections of many conversations, and the reads of a connect.

use std::sync::Arc;

use rookery_actors::id::{ConversationId, DeviceId, LoginId, UserId};
use rookery_actors::ports::accounts::{AccountStore, Device};
use rookery_actors::ports::chats::{
    ChatStore, Content, CursorUpdate, Entry, Member, Profile, Projection, Sought, Span, Step, StoredMessage,
};
use rookery_actors::protocol::view::Role;
use rookery_actors::time::Timestamp;
use rookery_cluster::id::ShardId;
use rookery_node::adapters::sqlite::accounts::SqliteAccounts;
use rookery_node::adapters::sqlite::{SqliteChats, schema};

use super::meter::Meter;

const CONVERSATIONS: usize = 1_000;
const BODY: usize = 200;

struct Pair {
    id: ConversationId,
    users: [UserId; 2],
    devices: [DeviceId; 2],
    head: u64,
    applied: u64,
}

struct Bench {
    _dir: tempfile::TempDir,
    chats: SqliteChats,
    pairs: Vec<Pair>,
    offset: u64,
}

pub async fn run() {
    let mut bench = Bench::new().await;
    for (each, batches) in [(30, 10), (10, 20), (3, 30)] {
        bench.project(each, batches).await;
    }
    bench.cursors().await;
    bench.reads().await;
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let db = schema::open(&dir.path().join("store.db")).expect("the store opens");
        let accounts = SqliteAccounts::new(db.clone());
        let chats = SqliteChats::new(db);
        let (mut pairs, mut batch) = (Vec::new(), Vec::new());
        for _ in 0..CONVERSATIONS {
            let users = [UserId::fresh(), UserId::fresh()];
            let mut pair = Pair {
                id: ConversationId::direct(users[0], users[1]),
                users,
                devices: [DeviceId::fresh(), DeviceId::fresh()],
                head: 0,
                applied: 0,
            };
            for (user, id) in users.into_iter().zip(pair.devices) {
                let device = Device {
                    id,
                    login: LoginId::fresh(),
                    name: "a phone".into(),
                    created_at: Timestamp(1),
                    last_seen_at: None,
                };
                accounts.create_device(user, device, 10).await.expect("create_device");
            }
            let profile = Profile::Direct {
                pair: users,
                gone: vec![],
            };
            batch.push(pair.next(vec![Step::Profile(profile), Step::Joined(users.map(member).to_vec())]));
            pairs.push(pair);
        }
        chats.project(batch).await.expect("project");
        Self {
            _dir: dir,
            chats,
            pairs,
            offset: 0,
        }
    }

    /// Batches with so many messages of each conversation.
    async fn project(&mut self, each: u64, batches: usize) {
        let mut prepared: Vec<Vec<Projection>> = Vec::new();
        for _ in 0..batches {
            let batch = self.pairs.iter_mut().map(|pair| {
                let steps = (1..=each)
                    .map(|number| message(pair.head + number, pair.users[0]))
                    .collect();
                pair.head += each;
                pair.next(steps)
            });
            prepared.push(batch.collect());
        }
        let meter = Meter::start();
        for batch in prepared {
            self.chats.project(batch).await.expect("project");
        }
        let messages = each * (CONVERSATIONS * batches) as u64;
        self.offset += messages;
        let what = format!("project, {each} messages of {CONVERSATIONS} conversations a batch");
        meter.print(&what, "messages", messages);
    }

    /// Every member of every conversation has received and read everything, as one device reports it.
    async fn cursors(&self) {
        let meter = Meter::start();
        for round in 0..10 {
            let update = |pair: &Pair, one: usize| CursorUpdate {
                user: pair.users[one],
                conversation: pair.id,
                read: pair.head - 10 + round,
                delivered: pair.head - 10 + round,
                devices: vec![(pair.devices[one], pair.head - 10 + round)],
            };
            let updates = self
                .pairs
                .iter()
                .flat_map(|pair| [update(pair, 0), update(pair, 1)])
                .collect();
            self.chats.save_cursors(updates).await.expect("save_cursors");
        }
        meter.print("cursors, 2,000 a batch", "cursors", 20_000);
    }

    async fn reads(&self) {
        let meter = Meter::start();
        for pair in &self.pairs {
            self.chats.inboxes(&pair.users[..1]).await.expect("inboxes");
        }
        meter.print(
            "inbox of one user with one conversation",
            "inboxes",
            CONVERSATIONS as u64,
        );

        let users: Vec<_> = self.pairs.iter().flat_map(|pair| pair.users).collect();
        let meter = Meter::start();
        for some in users.chunks(500) {
            self.chats.inboxes(some).await.expect("inboxes");
        }
        meter.print("inboxes, 500 a call", "inboxes", users.len() as u64);

        let meter = Meter::start();
        for pair in &self.pairs {
            let span = Span::Before(u64::MAX);
            self.chats.messages(pair.id, span, 100).await.expect("messages");
        }
        meter.print("history, a page of 100", "pages", CONVERSATIONS as u64);

        let meter = Meter::start();
        for pair in &self.pairs {
            let (from, to) = (pair.head - 4, pair.head);
            self.chats.entries(pair.id, from, to, 100).await.expect("entries");
        }
        meter.print("the last 5 entries", "reads", CONVERSATIONS as u64);

        let meter = Meter::start();
        for pair in &self.pairs {
            self.chats
                .unread(pair.id, pair.users[1], 0, pair.head, 999)
                .await
                .expect("unread");
        }
        meter.print(
            &format!("unread, {} of them", self.pairs[0].head.min(999)),
            "counts",
            CONVERSATIONS as u64,
        );

        let meter = Meter::start();
        for pair in &self.pairs {
            self.chats.find(&[pair.unused_id()]).await.expect("find");
        }
        meter.print(
            &format!("find a client id among {}", self.pairs[0].head),
            "searches",
            CONVERSATIONS as u64,
        );

        let together: Vec<_> = self.pairs.iter().map(Pair::unused_id).collect();
        let meter = Meter::start();
        self.chats.find(&together).await.expect("find");
        meter.print("the same in one read", "searches", CONVERSATIONS as u64);

        let meter = Meter::start();
        for pair in &self.pairs {
            self.chats.conversation(pair.id).await.expect("conversation");
        }
        meter.print("snapshot with client ids", "snapshots", CONVERSATIONS as u64);
    }
}

impl Pair {
    fn unused_id(&self) -> Sought {
        Sought {
            conversation: self.id,
            from: self.users[0],
            id: "never used".into(),
        }
    }

    fn next(&mut self, steps: Vec<Step>) -> Projection {
        self.applied += steps.len() as u64;
        Projection {
            conversation: self.id,
            shard: ShardId(0),
            applied: self.applied,
            head: self.head,
            active_at: Timestamp(1),
            steps,
        }
    }
}

fn member(user: UserId) -> Member {
    Member {
        user,
        role: Role::Member,
        joined_at: Timestamp(1),
        joined_seq: 0,
        admin_since: None,
    }
}

fn message(seq: u64, from: UserId) -> Step {
    Step::Entry(Arc::new(Entry::Message(StoredMessage {
        seq,
        id: uuid::Uuid::now_v7().to_string(),
        from,
        at: Timestamp(1_795_253_400_123),
        content: Content {
            body: "x".repeat(BODY),
            ..Content::default()
        },
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    })))
}
