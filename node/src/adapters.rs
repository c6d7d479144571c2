//! Adapters of the ports: embedded ones over one directory.
pub mod blobs;
pub mod kafka;
pub mod sqlite;
