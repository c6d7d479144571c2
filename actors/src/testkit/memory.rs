//! The ports in memory, shared by the nodes of one process: what tests and simulations of several nodes stand on. Each is held
//! to its contract suite like any other adapter.

mod accounts;
mod chats;
mod log;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::accounts::MemoryAccounts;
pub use self::chats::MemoryChats;
pub use self::log::{MemoryLog, Writer};
use crate::id::{ConversationId, FileId, UserId};
use crate::ports::files::Attachments;
use crate::protocol::Problem;
use crate::system::Ports;

/// The services of a cluster of one process.
#[derive(Clone)]
pub struct Services {
    pub log: MemoryLog,
    pub chats: Arc<MemoryChats>,
    pub accounts: Arc<MemoryAccounts>,
}

impl Services {
    pub fn new(shards: u16) -> Self {
        let accounts = Arc::new(MemoryAccounts::default());
        Self {
            log: MemoryLog::new(shards),
            chats: Arc::new(MemoryChats::new(Arc::clone(&accounts))),
            accounts,
        }
    }

    /// What one node gets of them: all the same, but for its own hand on the log.
    pub fn ports(&self) -> Ports {
        Ports {
            log: self.log.writer(),
            chats: self.chats.clone(),
            accounts: self.accounts.clone(),
            attachments: Arc::new(NoFiles),
        }
    }
}

/// Nobody has any files.
pub struct NoFiles;

#[async_trait]
impl Attachments for NoFiles {
    async fn share(&self, _: UserId, _: ConversationId, files: &[FileId]) -> Result<(), Problem> {
        match files {
            [] => Ok(()),
            _ => Err(Problem::not_found("file")),
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::ports::log::EventLog;
    use crate::testkit::chats::World;

    #[tokio::test]
    async fn the_log_keeps_its_contract() {
        let current = Mutex::new(MemoryLog::new(4));
        let fresh = async || {
            *current.lock() = MemoryLog::new(4);
            let log: Arc<dyn EventLog> = current.lock().writer();
            log
        };
        let reopened = async |_| {
            let log: Arc<dyn EventLog> = current.lock().writer();
            log
        };
        crate::testkit::log::suite(fresh, reopened).await;
    }

    #[tokio::test]
    async fn the_accounts_keep_their_contract() {
        crate::testkit::accounts::suite(async || Arc::new(MemoryAccounts::default()) as _).await;
    }

    #[tokio::test]
    async fn the_chats_keep_their_contract() {
        let fresh = async || {
            let services = Services::new(4);
            World {
                chats: services.chats,
                accounts: services.accounts,
            }
        };
        crate::testkit::chats::suite(fresh, async |world| world).await;
    }
}
