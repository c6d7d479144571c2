//! Who is in the cluster, and the table that follows from it. Values only: where views come from is a shell's business.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::placement::{Candidate, Impossible, Placement};

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

/// One node as the others see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    pub node: NodeId,
    pub state: NodeState,
    pub weight: NonZeroU8,
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
        let member = Member {
            node,
            state: NodeState::Up,
            weight: NonZeroU8::MIN,
        };
        Self::new(Epoch::default(), vec![member])
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
    /// The table of a view; every node that has the view has the table.
    pub fn of(view: &View, shards: u16) -> Result<Self, Impossible> {
        Ok(Self {
            epoch: view.epoch,
            placement: Placement::compute(view.owners(), shards)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::NodeState::{Draining, Joining, Up};
    use super::*;

    fn view(members: &[(&str, NodeState)]) -> View {
        let member = |(node, state): &(&str, NodeState)| Member {
            node: NodeId::from(*node),
            state: *state,
            weight: NonZeroU8::MIN,
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
    fn a_view_without_nodes_has_no_table() {
        assert!(Table::of(&view(&[]), 256).is_err());
    }
}
