//! How many of something each address holds.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use parking_lot::Mutex;

use super::Refusal;

/// Shards of the table.
const SHARDS: usize = 16;

#[derive(Default)]
pub struct Addresses {
    shards: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
    hasher: RandomState,
}

impl Addresses {
    /// One more for the address, unless it holds `most` or `further` says no.
    pub fn enter(
        &self,
        address: IpAddr,
        most: u32,
        further: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut shard = self.shard(address).lock();
        let held = shard.get(&address).copied().unwrap_or(0);
        if held >= most {
            return Err(Refusal::Address);
        }
        further()?;
        shard.insert(address, held + 1);
        Ok(())
    }

    pub fn leave(&self, address: IpAddr) {
        let mut shard = self.shard(address).lock();
        match shard.get_mut(&address) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(shard.remove(&address)),
        }
    }

    fn shard(&self, address: IpAddr) -> &Mutex<HashMap<IpAddr, u32>> {
        &self.shards[(self.hasher.hash_one(address) % SHARDS as u64) as usize]
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().is_empty())
    }
}
