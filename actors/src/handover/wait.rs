//! What is known of the other nodes' hand-overs, and from it whether a shard may be opened here: pure.

use std::collections::{HashMap, HashSet};

use rookery_cluster::id::{NodeId, ShardId};
use rookery_cluster::membership::Epoch;

/// What other nodes have said.
#[derive(Debug, Default)]
pub struct Heard {
    /// By which table each goes.
    installed: HashMap<NodeId, Epoch>,
    /// As of which epoch each has closed a shard.
    closed: HashMap<(NodeId, ShardId), Epoch>,
    /// Nodes that are gone, or cut off from here, and have not been heard of since.
    lost: HashSet<NodeId>,
    /// Nodes that had not said that they go by a table when something was served by it, and which table that was.
    unaware: HashMap<NodeId, Epoch>,
    /// Who waits for which of this node's shards to be closed, as of which epoch.
    asked: Vec<(NodeId, Epoch, Vec<ShardId>)>,
}

impl Heard {
    /// A node goes by a table. True when something was served by that table before: until now the node may have delivered to
    /// whoever had it by an earlier one.
    pub fn installed(&mut self, node: &NodeId, epoch: Epoch) -> bool {
        self.lost.remove(node);
        let known = self.installed.entry(node.clone()).or_default();
        *known = epoch.max(*known);
        let was_unaware = self.unaware.get(node).is_some_and(|since| *since <= epoch);
        if was_unaware {
            self.unaware.remove(node);
        }
        was_unaware
    }

    /// A node has closed shards; true as in [`installed`](Self::installed).
    pub fn closed(&mut self, node: &NodeId, epoch: Epoch, shards: &[ShardId]) -> bool {
        for shard in shards {
            let known = self.closed.entry((node.clone(), *shard)).or_default();
            *known = epoch.max(*known);
        }
        self.installed(node, epoch)
    }

    /// Something is served by a table from now on, whether or not every other node goes by it.
    pub fn served<'n>(&mut self, epoch: Epoch, others: impl IntoIterator<Item = &'n NodeId>) {
        for node in others {
            if self.installed.get(node).is_none_or(|at| *at < epoch) {
                self.unaware.insert(node.clone(), epoch);
            }
        }
    }

    /// A node is gone or out of reach. When it comes back it may be another incarnation.
    pub fn lost(&mut self, node: &NodeId) {
        self.lost.insert(node.clone());
        self.installed.remove(node);
        self.closed.retain(|(of, _), _| of != node);
        self.asked.retain(|(by, ..)| by != node);
    }

    /// Whether a shard may be opened by the table of that epoch: those who may have had it have it no more, and every node
    /// of the table knows that it is ours, so that whatever is said from now on is said to us.
    pub fn may_open<'n>(
        &self,
        shard: ShardId,
        epoch: Epoch,
        before: &[NodeId],
        others: impl IntoIterator<Item = &'n NodeId>,
    ) -> bool {
        let closed = |node: &NodeId| self.closed.get(&(node.clone(), shard)).is_some_and(|at| *at >= epoch);
        let knows = |node: &NodeId| self.installed.get(node).is_some_and(|at| *at >= epoch);
        let lost = |node: &NodeId| self.lost.contains(node);
        before.iter().all(|node| lost(node) || closed(node)) && others.into_iter().all(|node| lost(node) || knows(node))
    }

    /// A node waits until these shards are closed here.
    pub fn asked(&mut self, node: &NodeId, epoch: Epoch, shards: Vec<ShardId>) {
        self.lost.remove(node);
        self.asked.push((node.clone(), epoch, shards));
    }

    /// Who can be told now that all it waits for is closed here, this node going by the table of `epoch`.
    pub fn answerable(&mut self, epoch: Epoch, closed: impl Fn(ShardId) -> bool) -> Vec<(NodeId, Vec<ShardId>)> {
        let (now, later) = std::mem::take(&mut self.asked)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, at, shards)| *at <= epoch && shards.iter().all(|shard| closed(*shard)));
        self.asked = later;
        now.into_iter().map(|(node, _, shards)| (node, shards)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(7);

    fn nodes<const N: usize>(names: [&str; N]) -> Vec<NodeId> {
        names.map(NodeId::from).to_vec()
    }

    fn may_open(heard: &Heard, epoch: u64) -> bool {
        heard.may_open(SHARD, Epoch(epoch), &nodes(["b"]), &nodes(["b", "c"]))
    }

    #[test]
    fn a_shard_opens_when_its_owner_closed_it_and_everybody_knows() {
        let mut heard = Heard::default();
        heard.installed(&"c".into(), Epoch(4));
        assert!(!may_open(&heard, 4));
        heard.closed(&"b".into(), Epoch(3), &[SHARD]);
        assert!(!may_open(&heard, 4), "that was an earlier hand-over");
        heard.closed(&"b".into(), Epoch(4), &[ShardId(8)]);
        assert!(!may_open(&heard, 4), "another shard");
        heard.closed(&"b".into(), Epoch(4), &[SHARD]);
        assert!(may_open(&heard, 4) && !may_open(&heard, 5));
    }

    #[test]
    fn who_hears_of_a_table_after_it_was_served_by_is_told_apart_once() {
        let mut heard = Heard::default();
        assert!(!heard.installed(&"b".into(), Epoch(4)));
        heard.lost(&"c".into());
        assert!(heard.may_open(SHARD, Epoch(4), &[], &nodes(["b", "c"])));
        heard.served(Epoch(4), &nodes(["b", "c"]));
        assert!(!heard.installed(&"b".into(), Epoch(4)), "it had said so before");
        assert!(!heard.installed(&"c".into(), Epoch(3)), "that is an earlier one");
        assert!(heard.closed(&"c".into(), Epoch(4), &[SHARD]));
        assert!(!heard.installed(&"c".into(), Epoch(5)));
    }

    #[test]
    fn nobody_waits_for_a_node_that_is_gone() {
        let mut heard = Heard::default();
        heard.installed(&"c".into(), Epoch(4));
        heard.lost(&"b".into());
        assert!(may_open(&heard, 4));
        heard.installed(&"b".into(), Epoch(4));
        assert!(!may_open(&heard, 4), "it is back, and may have the shard");
    }

    #[test]
    fn who_asks_is_answered_once_all_is_closed_and_the_table_is_known() {
        let mut heard = Heard::default();
        heard.asked(&"c".into(), Epoch(5), vec![SHARD, ShardId(8)]);
        assert!(heard.answerable(Epoch(5), |shard| shard == SHARD).is_empty());
        assert!(heard.answerable(Epoch(4), |_| true).is_empty());
        assert_eq!(
            heard.answerable(Epoch(5), |_| true),
            [("c".into(), vec![SHARD, ShardId(8)])]
        );
        assert!(heard.answerable(Epoch(5), |_| true).is_empty());
    }
}
