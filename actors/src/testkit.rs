//! Contract suites of the ports: public functions that every adapter runs in its own tests; and what several tests are made of.

pub mod accounts;
pub mod blobs;
pub mod chats;
pub mod clock;
pub mod directory;
pub mod files;
pub mod frames;
pub mod jobs;
pub mod log;
pub mod memory;
