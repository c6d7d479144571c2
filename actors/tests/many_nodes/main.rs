//! Several nodes in one process, over one log and one store: what users see of them while shards move, nodes die and two
//! nodes believe that they own the same shard.
#![allow(clippy::unwrap_used)]

mod again;
mod late;
mod listed;
mod load;
mod members;
mod moves;
mod refused;
mod releases;
mod sessions;
mod support;
