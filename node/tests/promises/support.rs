//! What the promises are tested with: a real server, HTTP and WebSocket clients, users.

pub mod client;
pub mod http;
pub mod opening;
pub mod seed;
pub mod server;
pub mod user;
mod wire;

pub use client::{Client, Codec};
pub use seed::Seed;
pub use server::Server;
pub use user::{User, field, items, number, text};
