//! Contract suite of [`ChatStore`].

mod history;
mod inbox;
mod people;
mod projection;

use std::sync::Arc;

use rookery_cluster::id::ShardId;

use crate::id::{ConversationId, UserId};
use crate::ports::accounts::AccountStore;
use crate::ports::chats::{
    ChatStore, Content, Entry, LastChange, Member, Profile, Projection, Snapshot, Sought, Step, StoredChange,
    StoredMessage, StoredUpdate,
};
use crate::protocol::view::Role;
use crate::time::Timestamp;

/// A store under test, and the accounts whose devices it reads.
#[derive(Clone)]
pub struct World {
    pub chats: Arc<dyn ChatStore>,
    pub accounts: Arc<dyn AccountStore>,
}

impl World {
    async fn found(&self, conversation: ConversationId, from: UserId, id: &str) -> Option<(u64, Timestamp)> {
        let sought = [sought(conversation, from, id)];
        let found = self.chats.find(&sought).await.expect("find");
        assert_eq!(found.len(), 1);
        found[0]
    }
}

fn sought(conversation: ConversationId, from: UserId, id: &str) -> Sought {
    Sought {
        conversation,
        from,
        id: id.into(),
    }
}

/// Runs the whole suite. `fresh` opens an empty store; `reopened` closes the one it is given and opens the same once more, as
/// a restart would.
pub async fn suite(fresh: impl AsyncFn() -> World, reopened: impl AsyncFn(World) -> World) {
    projection::suite(&fresh, &reopened).await;
    history::suite(&fresh).await;
    inbox::suite(&fresh, &reopened).await;
    people::suite(&fresh).await;
}

/// A conversation and what was projected into it so far: the owner's side of the contract.
struct Chat {
    id: ConversationId,
    head: u64,
    applied: u64,
}

impl Chat {
    /// A group of these, all of whom joined at its start.
    async fn of(world: &World, users: &[UserId]) -> Self {
        let id = ConversationId::fresh();
        let mut chat = Self {
            id,
            head: 0,
            applied: 0,
        };
        let members = users.iter().map(|user| member(*user, 0)).collect();
        chat.project(world, vec![Step::Profile(group("a group")), Step::Joined(members)])
            .await;
        chat
    }

    /// What the log would say next.
    fn next(&mut self, steps: Vec<Step>) -> Projection {
        for step in &steps {
            if let Step::Entry(entry) = step {
                self.head = self.head.max(entry.seq());
            }
        }
        self.applied += 1 + steps.len() as u64;
        Projection {
            conversation: self.id,
            shard: ShardId(0),
            applied: self.applied,
            head: self.head,
            active_at: Timestamp(1000 + self.applied as i64),
            steps,
        }
    }

    async fn project(&mut self, world: &World, steps: Vec<Step>) {
        let projection = self.next(steps);
        world.chats.project(vec![projection]).await.expect("project");
    }

    /// Messages of one sender, with client ids made of their seqs.
    async fn say(&mut self, world: &World, from: UserId, count: u64) {
        let steps = (self.head + 1..=self.head + count).map(|seq| message(seq, from, &format!("c{seq}"), "text"));
        let steps = steps.collect();
        self.project(world, steps).await;
    }

    async fn update(&mut self, world: &World, from: UserId, of: u64, change: StoredChange) -> u64 {
        let seq = self.head + 1;
        self.project(world, vec![update(seq, from, of, change)]).await;
        seq
    }

    async fn snapshot(&self, world: &World) -> Snapshot {
        world
            .chats
            .conversation(self.id)
            .await
            .expect("conversation")
            .expect("known")
    }

    async fn message(&self, world: &World, seq: u64) -> StoredMessage {
        world
            .chats
            .message(self.id, seq)
            .await
            .expect("message")
            .expect("there")
    }

    async fn entries(&self, world: &World) -> Vec<Entry> {
        world
            .chats
            .entries(self.id, 0, u64::MAX, usize::MAX)
            .await
            .expect("entries")
    }
}

fn group(name: &str) -> Profile {
    Profile::Group {
        name: name.into(),
        photo: None,
        description: None,
        created_at: Timestamp(1),
        updated_at: Timestamp(2),
        last_change: Some(LastChange {
            process: u64::MAX - 1,
            offset: 3,
        }),
    }
}

fn member(user: UserId, joined_seq: u64) -> Member {
    Member {
        user,
        role: Role::Member,
        joined_at: Timestamp(10 + joined_seq as i64),
        joined_seq,
        admin_since: None,
    }
}

fn stored(seq: u64, from: UserId, id: &str, body: &str) -> StoredMessage {
    StoredMessage {
        seq,
        id: id.into(),
        from,
        at: Timestamp(5000 + seq as i64),
        content: Content {
            body: body.into(),
            ..Content::default()
        },
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    }
}

fn message(seq: u64, from: UserId, id: &str, body: &str) -> Step {
    Step::Entry(Arc::new(Entry::Message(stored(seq, from, id, body))))
}

fn update(seq: u64, from: UserId, of: u64, change: StoredChange) -> Step {
    let at = Timestamp(5000 + seq as i64);
    Step::Entry(Arc::new(Entry::Update(StoredUpdate {
        seq,
        of,
        from,
        at,
        change,
        idempotency: Some(u64::MAX - seq),
    })))
}

fn edit(text: &str) -> StoredChange {
    let body = Some(text.into());
    StoredChange::Edit { body }
}

fn react(emoji: &str, remove: bool) -> StoredChange {
    let emoji = emoji.into();
    StoredChange::React { emoji, remove }
}

/// Three users whose ids are in order.
fn three() -> [UserId; 3] {
    let mut users = [UserId::fresh(), UserId::fresh(), UserId::fresh()];
    users.sort_unstable();
    users
}
