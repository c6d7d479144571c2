use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn name(seed: u32, node: usize) -> NodeId {
    NodeId::from(format!("node-{seed:x}-{node}").as_str())
}

fn names(seed: u32, count: usize) -> Vec<NodeId> {
    (0..count).map(|node| name(seed, node)).collect()
}

fn compute(nodes: &[NodeId], shards: u16) -> Placement {
    Placement::compute(nodes.iter().cloned(), shards).unwrap()
}

fn loads(placement: &Placement) -> BTreeMap<&NodeId, usize> {
    let mut loads: BTreeMap<_, _> = placement.nodes().iter().map(|node| (node, 0)).collect();
    for shard in 0..placement.shards() {
        *loads.get_mut(placement.owner(ShardId(shard))).unwrap() += 1;
    }
    loads
}

/// The promise of this module's head: 1.1 times a fair share, and twice the square root of the shards.
fn most_moves(shards: u16, nodes: usize) -> usize {
    let shards = f64::from(shards);
    (1.1 * shards / nodes as f64 + 2.0 * shards.sqrt()) as usize
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_node_is_above_its_bound(seed: u32, count in 1..=200_usize, shards in 1..=1024_u16) {
        let nodes = names(seed, count);
        let placement = compute(&nodes, shards);
        let most = (11 * usize::from(shards)).div_ceil(10 * count);
        prop_assert_eq!(bound(shards, NonZeroU8::MIN, count as u32), most);
        let loads = loads(&placement);
        prop_assert!(loads.values().all(|load| *load <= most), "{:?} above {}", loads, most);
        prop_assert_eq!(loads.values().sum::<usize>(), usize::from(shards));
    }

    #[test]
    fn a_join_or_leave_moves_little_beside_the_nodes_own_shards(
        seed: u32, count in 2..=200_usize, shards in 64..=1024_u16, pick: prop::sample::Index,
    ) {
        let mut nodes = names(seed, count);
        let with = compute(&nodes, shards);
        let gone = nodes.swap_remove(pick.index(count));
        let without = compute(&nodes, shards);
        let own = with.shards_of(&gone).count();
        let moved = with.moves(&without).count();
        prop_assert!(moved >= own);
        prop_assert!(moved <= most_moves(shards, count), "{} moved, {} of them the node's own", moved, own);
        prop_assert_eq!(without.moves(&with).count(), moved, "a join moves what the leave moved");
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(
        nodes in Just(names(7, 30)).prop_shuffle(), twice in 0..30_usize, shards in 1..=512_u16,
    ) {
        let mut again = nodes.clone();
        again.push(name(7, twice));
        prop_assert_eq!(compute(&again, shards), compute(&names(7, 30), shards));
    }

    #[test]
    fn weights_are_kept_within_their_bounds(weights in prop::collection::vec(1..=8_u8, 1..40), shards in 1..=1024_u16) {
        let candidates: Vec<_> = weights.iter().enumerate().map(|(node, weight)| Candidate {
            node: name(1, node),
            weight: NonZeroU8::new(*weight).unwrap(),
        }).collect();
        let total = weights.iter().map(|weight| u32::from(*weight)).sum();
        let placement = Placement::compute(candidates.clone(), shards).unwrap();
        let loads = loads(&placement);
        for candidate in &candidates {
            let most = bound(shards, candidate.weight, total);
            prop_assert!(loads[&candidate.node] <= most, "{:?} of weight {}: above {}", loads, candidate.weight, most);
        }
    }
}

#[test]
fn the_table_is_a_stable_matching() {
    let nodes: Vec<Candidate> = names(3, 40).into_iter().map(Into::into).collect();
    let matching = Matching::of(&nodes, 256);
    let score = |shard, node: usize| mix(matching.points[node].0 ^ key(shard));
    for (owner, held) in matching.held.iter().enumerate() {
        for Reverse((own, shard)) in held {
            for (other, rivals) in matching.held.iter().enumerate().filter(|(other, _)| *other != owner) {
                let wanted = score(*shard, other) > *own;
                let room = rivals.len() < matching.bounds[other];
                let worse = rivals
                    .peek()
                    .is_some_and(|Reverse((least, _))| *least < score(*shard, other));
                assert!(
                    !wanted || !room && !worse,
                    "shard {shard} belongs on node {other}, not {owner}"
                );
            }
        }
    }
}

#[test]
fn growth_from_one_node_to_two_hundred_moves_little_more_than_it_must() {
    for (shards, most) in [(256, 1.8), (1024, 1.5)] {
        let nodes = names(5, 200);
        let tables: Vec<_> = (1..=200).map(|count| compute(&nodes[..count], shards)).collect();
        let moved: usize = tables.windows(2).map(|pair| pair[0].moves(&pair[1]).count()).sum();
        let fair: f64 = (2..=200).map(|count| f64::from(shards) / f64::from(count)).sum();
        assert!(
            (moved as f64) < most * fair,
            "{shards} shards: {moved} moved, {fair:.0} are fair"
        );
    }
}

#[test]
fn joins_move_no_more_than_the_fair_share_and_a_tenth_while_nodes_own_fifty_shards() {
    let (shards, mut moved, mut fair) = (2048, 0, 0.0);
    for seed in 0..4 {
        let nodes = names(seed, 40);
        for count in [2, 5, 10, 20, 30, 40] {
            moved += compute(&nodes[..count - 1], shards)
                .moves(&compute(&nodes[..count], shards))
                .count();
            fair += f64::from(shards) / count as f64;
        }
    }
    assert!((moved as f64) < 1.1 * fair, "{moved} moved, {fair:.0} are fair");
}

#[test]
fn a_heavier_node_gets_its_share() {
    let heavy = Candidate {
        node: "heavy".into(),
        weight: NonZeroU8::new(4).unwrap(),
    };
    let mut candidates: Vec<Candidate> = names(9, 4).into_iter().map(Into::into).collect();
    candidates.push(heavy);
    let placement = Placement::compute(candidates, 4096).unwrap();
    let own = placement.shards_of(&"heavy".into()).count();
    assert!((1850..=2253).contains(&own), "half of 4096 is about {own}");
}

/// This may never change within a release line: nodes of two releases must agree while one replaces the other.
#[test]
fn the_table_is_the_same_in_every_release() {
    let nodes: Vec<NodeId> = ["ada", "bob", "eve"].map(NodeId::from).to_vec();
    let owners: String = (0..32)
        .map(|shard| compute(&nodes, 32).owner(ShardId(shard)).0.chars().next().unwrap())
        .collect();
    assert_eq!(owners, "aaaabbbbeebbeaebaabeeeaebaaaebba");
}

#[test]
fn nothing_can_be_placed_on_no_node() {
    let none: [NodeId; 0] = [];
    assert_eq!(Placement::compute(none, 8), Err(Impossible { shards: 8, nodes: 0 }));
    assert_eq!(
        Placement::compute(names(1, 1), 0),
        Err(Impossible { shards: 0, nodes: 1 })
    );
}

#[test]
fn a_shard_beyond_the_table_still_has_an_owner() {
    let placement = compute(&names(1, 3), 10);
    assert_eq!(placement.owner(ShardId(13)), placement.owner(ShardId(3)));
}
