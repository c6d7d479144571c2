//! Guards the router's hot path: a local send is a few nanoseconds, without an allocation.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use rookery_cluster::id::{NodeId, ShardId};
use rookery_cluster::router::{Handler, Router};
use rookery_cluster::wire::{Malformed, Wire};

struct Number(u64);

impl Wire for Number {
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.to_be_bytes())
    }

    fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let bytes = bytes.as_ref().try_into().map_err(|_| Malformed("not eight bytes"))?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

#[derive(Default)]
struct Sum(AtomicU64);

impl Handler<Number> for Sum {
    fn handle(&self, _from: &NodeId, number: Number) {
        self.0.fetch_add(number.0, Ordering::Relaxed);
    }
}

fn router(c: &mut Criterion) {
    let router = Router::alone(NodeId::from("bench"), 256).expect("there is a node and there are shards");
    router.serve(Arc::new(Sum::default()));
    let shard = ShardId(77);
    c.bench_function("router/is_local", |b| b.iter(|| router.is_local(black_box(shard))));
    c.bench_function("router/owner", |b| b.iter(|| router.owner(black_box(shard))));
    c.bench_function("router/send_to_shard_local", |b| {
        b.iter(|| router.send_to_shard(black_box(shard), Number(1)));
    });
}

criterion_group!(benches, router);
criterion_main!(benches);
