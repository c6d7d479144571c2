//! Guards the time in which a node computes its table: 4,096 shards on 100 nodes within 5 ms, from nothing and after a join.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rookery_cluster::id::NodeId;
use rookery_cluster::placement::Placement;

fn placement(c: &mut Criterion) {
    for (shards, nodes) in [(256, 3), (256, 100), (4096, 100), (4096, 200)] {
        let names: Vec<_> = (0..nodes)
            .map(|node| NodeId::from(format!("node-{node}").as_str()))
            .collect();
        c.bench_function(&format!("placement/{shards}_shards_on_{nodes}_nodes"), |b| {
            b.iter_batched(
                || names.clone(),
                |names| Placement::compute(names, shards),
                BatchSize::SmallInput,
            );
        });
        let (joiner, before) = names.split_last().expect("there are nodes");
        let table = Placement::next(None, before.iter().cloned(), shards).expect("a table");
        c.bench_function(&format!("placement/{joiner}_joins/{shards}_shards"), |b| {
            b.iter_batched(
                || names.clone(),
                |names| Placement::next(Some(&table), names, shards),
                BatchSize::SmallInput,
            );
        });
        c.bench_function(&format!("placement/{joiner}_leaves/{shards}_shards"), |b| {
            let whole = Placement::next(Some(&table), names.iter().cloned(), shards).expect("a table");
            b.iter_batched(
                || before.to_vec(),
                |names| Placement::next(Some(&whole), names, shards),
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, placement);
criterion_main!(benches);
