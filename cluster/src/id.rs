//! Shards and nodes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hash::mix;

/// One slice of the key space, owned by one node at a time. Fixed in number for the life of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A node process's name: chosen by its operator or made at first start, stable over restarts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NodeId(pub std::sync::Arc<str>);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many shards a cluster has unless its operator chose otherwise.
pub const DEFAULT_SHARDS: u16 = 256;

impl ShardId {
    /// The shard of a key of 16 bytes (an id). The ids' random bits are hashed, not trusted.
    pub fn of(key: &[u8; 16], shards: u16) -> Self {
        let (low, high) = (u64::from_le_bytes(half(key, 0)), u64::from_le_bytes(half(key, 8)));
        let mixed = mix(low ^ mix(high));
        Self((mixed % u64::from(shards.max(1))) as u16)
    }
}

fn half(key: &[u8; 16], start: usize) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&key[start..start + 8]);
    out
}

impl From<&str> for NodeId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These may never change: a shard is where a key's records already lie.
    #[test]
    fn a_key_stays_in_its_shard_for_ever() {
        let keys = [[0; 16], [0xff; 16], *b"0123456789abcdef"];
        assert_eq!(keys.map(|key| ShardId::of(&key, DEFAULT_SHARDS).0), [111, 54, 101]);
    }

    #[test]
    fn keys_spread_evenly_over_the_shards() {
        let mut loads = [0; 64];
        for key in 0..64_000_u128 {
            loads[usize::from(ShardId::of(&key.to_be_bytes(), 64).0)] += 1;
        }
        assert!(loads.iter().all(|load| (850..1150).contains(load)), "{loads:?}");
    }
}
