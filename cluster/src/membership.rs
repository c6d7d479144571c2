//! Who is in the cluster, and the table that follows from it.
//!
//! **What is this.** Here are the values: a [`Member`] is one node as the others see it, a [`View`] all of them at one
//! [`Epoch`], a [`Table`] who owns which shard, and [`Cluster`] the two together. [`lease`] is the state machine of one
//! node's membership, [`service`] the shell that keeps it alive at Redis and says what the cluster looks like.
//!
//! **What always holds.** Epochs only grow, also when Redis comes back without its data. The table of an epoch is made from
//! the table before it, so all nodes must start from the same one: it is kept beside the view, whoever sees a new view
//! first proposes its table, and everybody takes the one that was stored.

pub mod lease;
pub mod service;

mod hex;
mod registry;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::placement::{Candidate, Impossible, Placement};
use crate::wire::Versions;

/// Counts the changes of the membership. Of two views the one with the higher epoch is right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// Where a node is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Known to the others, not yet ready to own shards.
    Joining,
    Up,
    /// On its way out: reachable, and handing its shards over.
    Draining,
}

/// Tells one stay of a node in the cluster from the next: it is the epoch at which the node joined. Of two incarnations of
/// a node the higher one is alive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// SHA-256 of a certificate.
pub type Fingerprint = [u8; 32];

/// One node as the others see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    pub node: NodeId,
    pub state: NodeState,
    pub weight: NonZeroU8,
    pub incarnation: Incarnation,
    /// Where its peers reach it.
    pub address: SocketAddr,
    /// Of the certificate with which it meets its peers.
    #[serde(with = "hex")]
    pub fingerprint: Fingerprint,
    /// Where clients reach it, if they can reach it by itself.
    pub public_url: Option<String>,
    /// The frames it speaks.
    pub versions: Versions,
}

impl Member {
    /// A node that has no peers: up, and reachable nowhere.
    pub fn alone(node: NodeId) -> Self {
        Self {
            node,
            state: NodeState::Up,
            weight: NonZeroU8::MIN,
            incarnation: Incarnation::default(),
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            fingerprint: Fingerprint::default(),
            public_url: None,
            versions: Versions::OWN,
        }
    }
}

/// The membership at one epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    epoch: Epoch,
    /// In order of their names, each once.
    members: Vec<Member>,
}

impl View {
    /// A view of these members. Of a node named twice the first counts.
    pub fn new(epoch: Epoch, mut members: Vec<Member>) -> Self {
        members.sort_by(|a, b| a.node.cmp(&b.node));
        members.dedup_by(|later, kept| later.node == kept.node);
        Self { epoch, members }
    }

    /// The view of a node that is a cluster by itself.
    pub fn alone(node: NodeId) -> Self {
        Self::new(Epoch::default(), vec![Member::alone(node)])
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// All members, in order of their names.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        let index = self.members.binary_search_by(|member| member.node.cmp(node)).ok()?;
        self.members.get(index)
    }

    /// The members that own shards: those that are up. Where none is, those that drain keep theirs until another comes up,
    /// and where there are none either, those that join are the cluster's first.
    pub fn owners(&self) -> impl Iterator<Item = &Member> {
        let preferred = [NodeState::Up, NodeState::Draining, NodeState::Joining];
        let present = |state: &NodeState| self.members.iter().any(|member| member.state == *state);
        let state = preferred.into_iter().find(present);
        self.members.iter().filter(move |member| Some(member.state) == state)
    }
}

impl From<&Member> for Candidate {
    fn from(member: &Member) -> Self {
        Self {
            node: member.node.clone(),
            weight: member.weight,
        }
    }
}

/// Who owns which shard at one epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    pub epoch: Epoch,
    pub placement: Placement,
}

impl Table {
    /// The table of a view that has none before it.
    pub fn of(view: &View, shards: u16) -> Result<Self, Impossible> {
        Self::next(None, view, shards)
    }

    /// The table of a view that follows this one: as little as possible moves.
    pub fn next(previous: Option<&Self>, view: &View, shards: u16) -> Result<Self, Impossible> {
        let previous = previous.map(|table| &table.placement);
        Ok(Self {
            epoch: view.epoch,
            placement: Placement::next(previous, view.owners(), shards)?,
        })
    }

    /// Whether this can be the table of a view: of its epoch, on all its owners and nobody else, none above its bound.
    pub fn fits(&self, view: &View, shards: u16) -> bool {
        let owners: Vec<Candidate> = view.owners().map(Candidate::from).collect();
        self.epoch == view.epoch && self.placement.shards() == shards && self.placement.fits(&owners)
    }
}

/// The cluster as this node knows it: who is in it, and who owns what.
///
/// A new view comes before its table, so that links can be made first; until then the table is the one of an earlier epoch,
/// and may name nodes that are gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    pub view: Arc<View>,
    pub table: Arc<Table>,
}

#[cfg(test)]
mod tests {
    use super::NodeState::{Draining, Joining, Up};
    use super::*;

    fn view(members: &[(&str, NodeState)]) -> View {
        let member = |(node, state): &(&str, NodeState)| Member {
            state: *state,
            ..Member::alone(NodeId::from(*node))
        };
        View::new(Epoch(3), members.iter().map(member).collect())
    }

    #[test]
    fn shards_go_to_those_who_can_serve_them() {
        let owners = |members: &[(&str, NodeState)]| -> Vec<String> {
            view(members).owners().map(|member| member.node.to_string()).collect()
        };
        assert_eq!(
            owners(&[("a", Up), ("b", Joining), ("c", Draining), ("d", Up)]),
            ["a", "d"]
        );
        assert_eq!(owners(&[("a", Draining), ("b", Joining)]), ["a"]);
        assert_eq!(owners(&[("b", Joining), ("a", Joining)]), ["a", "b"]);
        assert_eq!(
            owners(&[("a", Up), ("a", Draining)]),
            ["a"],
            "the first of a name counts"
        );
        assert_eq!(owners(&[]), [""; 0]);
    }

    #[test]
    fn a_member_is_found_by_name() {
        let view = view(&[("b", Draining), ("a", Up)]);
        assert_eq!(view.member(&"b".into()).unwrap().state, Draining);
        assert_eq!(view.member(&"c".into()), None);
    }

    #[test]
    fn a_node_alone_owns_every_shard() {
        let table = Table::of(&View::alone("a".into()), 256).unwrap();
        assert_eq!(table.placement.shards_of(&"a".into()).count(), 256);
        assert_eq!(table.epoch, Epoch(0));
    }

    #[test]
    fn a_table_fits_only_the_view_that_it_was_made_for() {
        let two = view(&[("a", Up), ("b", Up)]);
        let table = Table::of(&two, 16).unwrap();
        assert!(table.fits(&two, 16) && !table.fits(&two, 32));
        assert!(!table.fits(&view(&[("a", Up), ("b", Draining)]), 16), "b owns nothing");
        assert!(
            !table.fits(&view(&[("a", Up), ("b", Up), ("c", Up)]), 16),
            "c owns too little"
        );
        let later = View::new(Epoch(4), two.members().to_vec());
        assert!(!table.fits(&later, 16));
    }

    #[test]
    fn a_node_that_drains_hands_over_all_it_has() {
        let before = Table::of(&view(&[("a", Up), ("b", Up), ("c", Up)]), 64).unwrap();
        let after = Table::next(Some(&before), &view(&[("a", Up), ("b", Draining), ("c", Up)]), 64).unwrap();
        let own = before.placement.shards_of(&"b".into()).count();
        assert_eq!(after.placement.shards_of(&"b".into()).count(), 0);
        assert_eq!(before.placement.moves(&after.placement).count(), own);
    }

    #[test]
    fn a_view_without_nodes_has_no_table() {
        assert!(Table::of(&view(&[]), 256).is_err());
    }
}
