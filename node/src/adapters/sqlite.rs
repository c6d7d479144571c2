//! The embedded adapters on SQLite: `log.db` is the event log, `store.db` everything else.
//!
//! The two files are apart because their rhythms are: the log is written by one thread that fsyncs many times a second and
//! stays short; the store takes the projections in large transactions and keeps them for ever.
pub mod accounts;
pub mod chats;
pub mod db;
pub mod directory;
pub mod disk;
pub mod files;
pub mod jobs;
pub mod log;
pub mod schema;

pub use chats::SqliteChats;
pub use db::Db;
pub use disk::Disk;
pub use log::SqliteLog;

#[cfg(test)]
mod tests;
