//! The stores on a MongoDB server: conversations, accounts and files, for many nodes at once.
//!
//! **What it relies on.** One document changes as a whole, unique indexes, conditional updates, and a write that was
//! confirmed by the majority stays. No sessions, transactions, change streams, TTL, partial indexes, collations or pipeline
//! updates: so it works on every MongoDB from 4.4 on, replicated or not, and on compatible servers.
//!
//! **What holds everywhere.** Every write waits for the majority and its journal; everything is read from the primary. Each
//! multi-step write has one step that decides (an insert under a unique index, an update of one document under a condition);
//! what comes before it is invisible or harmless without it, what comes after can be done again by anybody. So a crash at
//! any point, a repeat, or a second node at the same work changes nothing. The heads of `chats`, `accounts` and `files` say
//! which step that is.
//!
//! Ids are UUIDs; keys of which ranges are read are bytes in the order of the range (`code.rs`).

pub mod accounts;
mod bulk;
pub mod chats;
mod code;
mod failure;
pub mod files;
mod meters;
mod open;
mod query;
mod settings;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::bson::Document;
use mongodb::error::Error;
use mongodb::{Collection, Database};
use rookery_actors::ports::{PortError, PortResult};

pub use self::accounts::MongoAccounts;
pub use self::chats::MongoChats;
pub use self::files::MongoFiles;
use self::meters::{Kind, Meters};
pub use self::settings::Settings;

/// A database on a server. Cheap to clone.
#[derive(Clone)]
pub struct Mongo(Arc<Inner>);

struct Inner {
    database: Database,
    /// The longest a command may take.
    deadline: Duration,
    /// The server is one of several, so that one which does not know yet that it lost its office could answer.
    replicated: bool,
    meters: Meters,
}

impl Mongo {
    /// Connects, checks that the server will do, and makes the indexes. Says in one sentence what is wrong.
    pub async fn open(settings: &Settings) -> PortResult<Self> {
        open::open(settings).await
    }

    /// Commands sent so far.
    pub fn commands(&self) -> u64 {
        self.0.meters.commands()
    }

    fn meters(&self) -> &Meters {
        &self.0.meters
    }

    fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.0.database.collection(name)
    }

    /// Runs one command within its time, counted. The inner error is the server's answer.
    async fn attempt<T>(
        &self,
        kind: Kind,
        command: impl Future<Output = Result<T, Error>>,
    ) -> PortResult<Result<T, Error>> {
        let started = Instant::now();
        let outcome = tokio::time::timeout(self.0.deadline, command).await;
        let failed = !matches!(outcome, Ok(Ok(_)));
        self.meters().record(kind, started.elapsed(), failed);
        outcome.map_err(|_| {
            let said = format!("MongoDB: no answer within {} ms", self.0.deadline.as_millis());
            if kind.writes() {
                PortError::Unknown(said)
            } else {
                PortError::Unavailable(said)
            }
        })
    }

    /// Runs one command that ought to succeed.
    async fn command<T>(&self, kind: Kind, command: impl Future<Output = Result<T, Error>>) -> PortResult<T> {
        let answer = self.attempt(kind, command).await?;
        answer.map_err(|error| failure::port_error(&error, kind.writes()))
    }

    /// Deletes what matches; answers how many there were.
    async fn delete(&self, collection: &str, filter: Document) -> PortResult<u64> {
        let collection = self.collection::<Document>(collection);
        let deleted = self
            .command(Kind::Delete, collection.delete_many(filter).into_future())
            .await?;
        Ok(deleted.deleted_count)
    }
}
