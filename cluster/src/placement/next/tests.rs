use std::num::NonZeroU8;

use proptest::prelude::*;

use super::super::{Impossible, bound};
use super::*;
use crate::id::ShardId;

fn candidate(seed: u32, node: usize, weight: u8) -> Candidate {
    Candidate {
        node: NodeId::from(format!("node-{seed:x}-{node}").as_str()),
        weight: NonZeroU8::new(weight).unwrap(),
    }
}

fn next(previous: Option<&Placement>, nodes: &[Candidate], shards: u16) -> Placement {
    let next = Placement::next(previous, nodes.iter().cloned(), shards).unwrap();
    assert!(next.fits(nodes), "not within its bounds: {next:?}");
    next
}

fn load(placement: &Placement, node: &Candidate) -> usize {
    placement.shards_of(&node.node).count()
}

/// The share of a node, rounded down and up.
fn around(shards: u16, node: &Candidate, nodes: &[Candidate]) -> (usize, usize) {
    let total: u64 = nodes.iter().map(|node| u64::from(node.weight.get())).sum();
    let exact = u64::from(shards) * u64::from(node.weight.get());
    ((exact / total) as usize, exact.div_ceil(total) as usize)
}

fn everybody_has_a_share(placement: &Placement, nodes: &[Candidate]) {
    for node in nodes {
        let (least, most) = around(placement.shards(), node, nodes);
        let held = load(placement, node);
        assert!((least..=most).contains(&held), "{} of {least}..={most}: {node:?}", held);
    }
}

/// What happens to a cluster, each with a lot that says to whom.
#[derive(Clone, Copy, Debug)]
enum Change {
    Join(u8),
    Leave(usize),
    Weigh(usize, u8),
}

fn changes(most_weight: u8) -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        3 => (1..=most_weight).prop_map(Change::Join),
        2 => any::<usize>().prop_map(Change::Leave),
        1 => (any::<usize>(), 1..=most_weight).prop_map(|(node, weight)| Change::Weigh(node, weight)),
    ];
    prop::collection::vec(change, 1..12)
}

fn apply(nodes: &mut Vec<Candidate>, change: Change, seed: u32, fresh: &mut usize) {
    *fresh += 1;
    match change {
        Change::Join(weight) => nodes.push(candidate(seed, 1000 + *fresh, weight)),
        Change::Leave(lot) if nodes.len() > 1 => drop(nodes.swap_remove(lot % nodes.len())),
        Change::Leave(_) => {}
        Change::Weigh(lot, weight) => {
            let index = lot % nodes.len();
            nodes[index].weight = NonZeroU8::new(weight).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// With equal weights: a leave moves the leaver's shards, a join what the joiner gets, which is its share rounded down.
    #[test]
    fn with_equal_weights_nothing_moves_in_vain(
        seed: u32, count in 1..=200_usize, shards in 1..=2048_u16, changes in changes(1),
    ) {
        let mut nodes: Vec<Candidate> = (0..count).map(|node| candidate(seed, node, 1)).collect();
        let mut table = next(None, &nodes, shards);
        everybody_has_a_share(&table, &nodes);
        let mut fresh = 0;
        for change in changes {
            let before = nodes.clone();
            apply(&mut nodes, change, seed, &mut fresh);
            let after = next(Some(&table), &nodes, shards);
            everybody_has_a_share(&after, &nodes);
            let moved = table.moves(&after).count();
            let gone: usize = before.iter().filter(|node| !nodes.contains(node)).map(|node| load(&table, node)).sum();
            let gained: usize = nodes.iter().filter(|node| !before.contains(node)).map(|node| load(&after, node)).sum();
            prop_assert_eq!(moved, gone + gained, "{:?} of {} nodes", change, before.len());
            prop_assert!(gained <= usize::from(shards) / nodes.len());
            table = after;
        }
    }

    /// With weights as well, and no two tables can be closer: what moves is what somebody has too much.
    #[test]
    fn with_weights_everybody_has_a_share_after_every_change(
        seed: u32, weights in prop::collection::vec(1..=8_u8, 1..60), shards in 1..=2048_u16, changes in changes(8),
    ) {
        let mut nodes: Vec<Candidate> =
            weights.iter().enumerate().map(|(node, weight)| candidate(seed, node, *weight)).collect();
        let mut table = next(None, &nodes, shards);
        everybody_has_a_share(&table, &nodes);
        let mut fresh = 0;
        for change in changes {
            let before = nodes.clone();
            apply(&mut nodes, change, seed, &mut fresh);
            let after = next(Some(&table), &nodes, shards);
            everybody_has_a_share(&after, &nodes);
            let moved = table.moves(&after).count();
            let gone: usize = before.iter().filter(|node| nodes.iter().all(|other| other.node != node.node))
                .map(|node| load(&table, node)).sum();
            let given: usize = nodes.iter().map(|node| load(&table, node).saturating_sub(load(&after, node))).sum();
            prop_assert_eq!(moved, gone + given);
            if let Change::Join(_) = change {
                let most = bound(shards, nodes.last().unwrap().weight, total(&nodes));
                prop_assert!(moved <= most + rounding(&before), "{} moved, {} are fair", moved, most);
            }
            table = after;
        }
    }

    #[test]
    fn what_is_written_reads_back(seed: u32, count in 1..=20_usize, shards in 1..=512_u16) {
        let nodes: Vec<Candidate> = (0..count).map(|node| candidate(seed, node, 1)).collect();
        let table = next(None, &nodes, shards);
        let text = serde_json::to_string(&table).unwrap();
        prop_assert_eq!(serde_json::from_str::<Placement>(&text).unwrap(), table);
    }

    /// From a table of an older release, or one that an operator made: it may move more, and then all have their share.
    #[test]
    fn a_lopsided_table_is_put_right(owners in prop::collection::vec(0..5_u16, 1..500)) {
        let nodes: Vec<Candidate> = (0..5).map(|node| candidate(0, node, 1)).collect();
        let lopsided = Placement {
            nodes: nodes.iter().map(|node| node.node.clone()).collect(),
            owners: owners.into(),
        };
        let after = next(Some(&lopsided), &nodes, lopsided.shards());
        everybody_has_a_share(&after, &nodes);
    }
}

fn total(nodes: &[Candidate]) -> u32 {
    nodes.iter().map(|node| u32::from(node.weight.get())).sum()
}

/// Where weights differ, which nodes round up can change hands at a join: a shard each at the most.
fn rounding(nodes: &[Candidate]) -> usize {
    if nodes.iter().all(|node| node.weight == nodes[0].weight) {
        0
    } else {
        nodes.len()
    }
}

#[test]
fn growth_to_two_hundred_nodes_and_back_moves_the_fair_shares() {
    for shards in [256, 4096] {
        let nodes: Vec<Candidate> = (0..200).map(|node| candidate(5, node, 1)).collect();
        let mut table = next(None, &nodes[..1], shards);
        for count in (2..=200).chain((1..200).rev()) {
            let after = next(Some(&table), &nodes[..count], shards);
            let changed = count.max(table.nodes().len());
            let fair = f64::from(shards) / changed as f64;
            let moved = table.moves(&after).count();
            assert!(
                moved as f64 <= fair.ceil(),
                "{shards} shards, {count} nodes: {moved} moved, {fair} are fair"
            );
            table = after;
        }
    }
}

#[test]
fn no_change_moves_nothing() {
    let nodes: Vec<Candidate> = (0..7).map(|node| candidate(1, node, 1 + node as u8 % 3)).collect();
    let table = next(None, &nodes, 100);
    assert_eq!(next(Some(&table), &nodes, 100), table);
}

#[test]
fn a_table_of_another_size_counts_for_nothing() {
    let nodes: Vec<Candidate> = (0..3).map(|node| candidate(1, node, 1)).collect();
    let other = next(None, &nodes, 99);
    assert_eq!(next(Some(&other), &nodes, 100), next(None, &nodes, 100));
}

#[test]
fn when_all_others_left_the_last_one_has_everything() {
    let nodes: Vec<Candidate> = (0..5).map(|node| candidate(1, node, 1)).collect();
    let table = next(None, &nodes, 64);
    let alone = next(Some(&table), &nodes[3..4], 64);
    assert_eq!(alone.shards_of(&nodes[3].node).count(), 64);
    let stranger = [candidate(2, 9, 1)];
    assert_eq!(next(Some(&table), &stranger, 64).owner(ShardId(5)), &stranger[0].node);
}

#[test]
fn nothing_can_be_placed_on_nobody() {
    let none: [Candidate; 0] = [];
    assert_eq!(Placement::next(None, none, 8), Err(Impossible { shards: 8, nodes: 0 }));
}

#[test]
fn nonsense_is_no_placement() {
    for text in [
        r#"{"nodes":[],"owners":[]}"#,
        r#"{"nodes":["a"],"owners":[]}"#,
        r#"{"nodes":["a"],"owners":[1]}"#,
        r#"{"nodes":["b","a"],"owners":[0,1]}"#,
        r#"{"nodes":["a","a"],"owners":[0,1]}"#,
        "7",
    ] {
        assert!(serde_json::from_str::<Placement>(text).is_err(), "{text}");
    }
}
