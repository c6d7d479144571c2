//! Adapters of the ports: embedded ones over one directory, and real services.
mod authorities;
pub mod blobs;
pub mod kafka;
pub mod mongo;
pub mod redis;
mod revocations;
pub mod s3;
pub mod sqlite;

#[cfg(test)]
mod tests;
