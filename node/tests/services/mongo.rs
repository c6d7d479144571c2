//! The stores on MongoDB keep every clause of their ports, also when two nodes write at once and when the server is killed.
//!
//! The server is a compatible implementation, not MongoDB itself (`deploy/services/mongodb`): what it does not have, sessions
//! and transactions among it, the stores do without; how fast it is says nothing of MongoDB.

mod contention;
mod faults;
mod impostor;
mod measure;
mod opening;
mod race;
mod story;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{ChatStore, Member, Projection, Step};
use rookery_actors::protocol::view::Role;
use rookery_actors::testkit::chats::World;
use rookery_actors::testkit::files::{Rosters, file_store_contract};
use rookery_actors::testkit::{accounts, chats};
use rookery_actors::time::Timestamp;
use rookery_cluster::id::ShardId;
use rookery_node::adapters::mongo::{Mongo, MongoAccounts, MongoChats, MongoFiles, Settings};

use crate::support;

fn settings(url: String, database: String) -> Settings {
    Settings {
        url,
        database,
        // The server is shared, and the machine may have other work: only what never answers fails a test.
        command_timeout_ms: 60_000,
        selection_timeout_ms: 60_000,
        connect_timeout_ms: 60_000,
        ..Settings::default()
    }
}

async fn open(database: &str) -> Mongo {
    let settings = settings(support::mongodb(), database.to_owned());
    Mongo::open(&settings).await.expect("the store opens")
}

async fn world(database: &str) -> World {
    let mongo = open(database).await;
    World {
        chats: Arc::new(MongoChats::new(mongo.clone())),
        accounts: Arc::new(MongoAccounts::new(mongo)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_conversations_keeps_its_contract() {
    let current = RefCell::new(String::new());
    let fresh = async || {
        let database = support::fresh("chats");
        current.replace(database.clone());
        world(&database).await
    };
    let reopened = async |before| {
        drop(before);
        let database = current.borrow().clone();
        world(&database).await
    };
    chats::suite(fresh, reopened).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_accounts_keeps_its_contract() {
    accounts::suite(async || Arc::new(MongoAccounts::new(open(&support::fresh("accounts")).await)) as _).await;
}

/// Memberships of conversations that nothing else is known of.
struct Memberships {
    chats: MongoChats,
    changes: AtomicU64,
}

impl Memberships {
    async fn change(&self, conversation: ConversationId, step: Step) {
        let projection = Projection {
            conversation,
            shard: ShardId(0),
            applied: self.changes.fetch_add(1, Ordering::Relaxed),
            head: 0,
            active_at: Timestamp(0),
            steps: vec![step],
        };
        self.chats.project(vec![projection]).await.expect("the roster changes");
    }
}

#[async_trait]
impl Rosters for Memberships {
    async fn join(&self, conversation: ConversationId, user: UserId) {
        let member = Member {
            user,
            role: Role::Member,
            joined_at: Timestamp(0),
            joined_seq: 0,
            admin_since: None,
        };
        self.change(conversation, Step::Joined(vec![member])).await;
    }

    async fn leave(&self, conversation: ConversationId, user: UserId) {
        self.change(conversation, Step::Left(vec![user])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_files_keeps_its_contract() {
    let mongo = open(&support::fresh("files")).await;
    let rosters = Memberships {
        chats: MongoChats::new(mongo.clone()),
        changes: AtomicU64::new(1),
    };
    file_store_contract(&MongoFiles::new(mongo), &rosters).await;
}
