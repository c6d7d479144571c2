//! Guards the time in which a node computes its table: 4,096 shards on 100 nodes within 5 ms.

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
    }
}

criterion_group!(benches, placement);
criterion_main!(benches);
