//! The table after this one: everybody's share exactly, and no move that the shares do not ask for.
//!
//! A node's share of the shards is rarely a whole number. Each node gets it rounded down or up, and which nodes round up is
//! chosen so that the least has to move: those that already hold that many come first. What a node holds beyond its share
//! it gives up, and that, together with the shards of nodes that are gone, fills what the others lack. So with equal weights
//! a join moves the joiner's share rounded down and nothing else, and a leave the leaver's shards and nothing else.
//!
//! Which shards a node gives up, and who gets a shard, follows the rendezvous scores: a shard goes to the node it likes
//! best among those that have room.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Candidate, Matching, Placement, key, points};
use crate::hash::{mix, of_text};
use crate::id::NodeId;

/// The owners of all shards. The candidates are in order of their names, each once.
pub(super) fn owners(previous: Option<&Placement>, candidates: &[Candidate], shards: u16) -> Box<[u16]> {
    let mut plan = Plan::new(previous, candidates, shards);
    plan.release();
    plan.fill();
    let owner = |owner: Option<u16>| owner.expect("the shares add up to all shards");
    plan.owners.into_iter().map(owner).collect()
}

struct Plan {
    /// Of each shard; none where it has to be placed.
    owners: Vec<Option<u16>>,
    /// How many shards each node has to give up, or lacks when it is negative.
    surplus: Vec<isize>,
    points: Vec<(u64, u16)>,
}

impl Plan {
    fn new(previous: Option<&Placement>, candidates: &[Candidate], shards: u16) -> Self {
        let owners = match previous.filter(|previous| previous.shards() == shards) {
            Some(previous) => kept(previous, candidates),
            None => Matching::of(candidates, shards)
                .owners()
                .iter()
                .copied()
                .map(Some)
                .collect(),
        };
        let loads = loads(&owners, candidates.len());
        let shares = shares(candidates, shards, &loads);
        let surplus = loads
            .iter()
            .zip(shares)
            .map(|(load, share)| *load as isize - share as isize);
        Self {
            owners,
            surplus: surplus.collect(),
            points: points(candidates),
        }
    }

    /// Takes from each node what it has too much: the shards that like those best who lack some.
    fn release(&mut self) {
        let mut held: BTreeMap<u16, Vec<(Reverse<u64>, usize)>> = BTreeMap::new();
        for (shard, owner) in self.owners.iter().enumerate() {
            let Some(owner) = owner.filter(|owner| self.surplus[usize::from(*owner)] > 0) else {
                continue;
            };
            let liking = self.favourite(shard).map_or(0, |(score, _)| score);
            held.entry(owner).or_default().push((Reverse(liking), shard));
        }
        for (owner, mut shards) in held {
            let surplus = std::mem::take(&mut self.surplus[usize::from(owner)]);
            shards.sort_unstable();
            for (_, shard) in &shards[..surplus.unsigned_abs()] {
                self.owners[*shard] = None;
            }
        }
    }

    /// Gives what has no owner to those who lack some.
    fn fill(&mut self) {
        for shard in 0..self.owners.len() {
            if self.owners[shard].is_none() {
                let node = self.favourite(shard).map(|(_, node)| node);
                self.owners[shard] = node;
                if let Some(node) = node {
                    self.surplus[usize::from(node)] += 1;
                }
            }
        }
    }

    /// The node that a shard likes best among those who lack some, with its score.
    fn favourite(&self, shard: usize) -> Option<(u64, u16)> {
        let key = key(shard as u16);
        let lacking = self
            .points
            .iter()
            .filter(|(_, node)| self.surplus[usize::from(*node)] < 0);
        lacking.map(|(hash, node)| (mix(hash ^ key), *node)).max()
    }
}

/// The owners before, as far as they still are there.
fn kept(previous: &Placement, candidates: &[Candidate]) -> Vec<Option<u16>> {
    let index = |node: &NodeId| candidates.binary_search_by(|candidate| candidate.node.cmp(node)).ok();
    let now: Vec<Option<u16>> = previous
        .nodes
        .iter()
        .map(|node| index(node).map(|index| index as u16))
        .collect();
    previous.owners.iter().map(|owner| now[usize::from(*owner)]).collect()
}

fn loads(owners: &[Option<u16>], nodes: usize) -> Vec<usize> {
    let mut loads = vec![0; nodes];
    for owner in owners.iter().flatten() {
        loads[usize::from(*owner)] += 1;
    }
    loads
}

/// How many shards each node is to have: its share rounded down, or up for as many nodes as it takes to place all.
fn shares(candidates: &[Candidate], shards: u16, loads: &[usize]) -> Vec<usize> {
    let total: u64 = candidates
        .iter()
        .map(|candidate| u64::from(candidate.weight.get()))
        .sum();
    let exact = |candidate: &Candidate| u64::from(shards) * u64::from(candidate.weight.get());
    let mut shares: Vec<usize> = candidates
        .iter()
        .map(|candidate| (exact(candidate) / total) as usize)
        .collect();
    let mut rounded: Vec<usize> = (0..candidates.len())
        .filter(|node| exact(&candidates[*node]) % total > 0)
        .collect();
    // Who already holds more keeps it; the rest is a lot that is the same everywhere.
    rounded.sort_by_key(|node| (loads[*node] <= shares[*node], of_text(&candidates[*node].node.0), *node));
    let left = usize::from(shards) - shares.iter().sum::<usize>();
    for node in &rounded[..left] {
        shares[*node] += 1;
    }
    shares
}

#[cfg(test)]
mod tests;
