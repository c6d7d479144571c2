//! A primary that dies and is replaced by its replica.

use super::*;
use crate::server::Redis;

#[tokio::test]
async fn a_primary_that_sentinel_moves_is_followed() {
    let mut primary = Redis::start();
    let replica = Redis::replica_of(primary.port());
    let sentinel = Redis::sentinel(primary.port());
    let target = Target::parse(&format!("sentinel://{}/main", sentinel.address())).unwrap();
    let a = up(target.clone(), "a").await;
    let b = up(target.clone(), "b").await;
    let all = ["a", "b"];
    let before = cluster(&a, |cluster| are_up(cluster, &all)).await;
    sentinel_knows_a_replica(&sentinel).await;
    primary.kill();
    let c = up(target, "c").await;
    for lease in [&a, &b, &c] {
        let after = cluster(lease, |cluster| are_up(cluster, &["a", "b", "c"])).await;
        assert!(after.view.epoch() > before.view.epoch());
    }
    for (lease, node) in [(&a, "a"), (&b, "b")] {
        let incarnation = before.view.member(&node.into()).unwrap().incarnation;
        assert_eq!(lease.status().borrow().incarnation, Some(incarnation), "nobody lapsed");
    }
    drop(replica);
}

#[tokio::test]
async fn of_several_addresses_the_primarys_is_taken() {
    let mut primary = Redis::start();
    let mut replica = Redis::replica_of(primary.port());
    let both = format!("redis://{},redis://{}", replica.address(), primary.address());
    let a = up(Target::parse(&both).unwrap(), "a").await;
    let before = cluster(&a, |cluster| are_up(cluster, &["a"])).await;
    primary.kill();
    // An operator makes the replica the primary, and it knows nothing.
    replica.kill();
    let mut promoted = replica;
    promoted.serve_alone();
    let later = |cluster: &Cluster| are_up(cluster, &["a"]) && cluster.view.epoch() > before.view.epoch();
    cluster(&a, later).await;
}

/// Sentinel asks the primary for its replicas once in a while, and can promote only one that it knows.
async fn sentinel_knows_a_replica(sentinel: &Redis) {
    let begun = Instant::now();
    loop {
        let client = redis::Client::open(format!("redis://{}", sentinel.address())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut question = redis::cmd("SENTINEL");
        question.arg("REPLICAS").arg("main");
        let replicas: Vec<redis::Value> = question.query_async(&mut connection).await.unwrap();
        if !replicas.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "sentinel finds no replica");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
