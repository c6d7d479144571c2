//! What the promises are tested with, over three nodes: clients and users as everywhere, and a server that is a cluster.

pub mod caller;
#[path = "../promises/support/client.rs"]
pub mod client;
pub mod clock;
pub mod cluster;
#[path = "../promises/support/http.rs"]
pub mod http;
pub mod link;
pub mod load;
#[path = "../promises/support/opening.rs"]
pub mod opening;
#[path = "../promises/support/seed.rs"]
pub mod seed;
#[path = "../promises/support/server.rs"]
pub mod server;
pub mod starvation;
#[path = "../promises/support/user.rs"]
pub mod user;
#[path = "../promises/support/wire.rs"]
mod wire;

pub use client::Client;
pub use cluster::{Cluster, Cluster as Server};
pub use seed::Seed;
pub use user::{User, field, items, number, text};

/// Where a message stands: its seq, its sender and its client id.
pub fn places(message: &serde_json::Value) -> (u64, (String, String)) {
    (number(&message["seq"]), (text(&message["from"]), text(&message["id"])))
}
