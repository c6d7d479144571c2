//! Nodes that come, go and die while Redis is well.

use super::*;
use crate::server::Redis;

#[tokio::test]
async fn three_nodes_see_each_other_and_have_one_table() {
    let redis = Redis::start();
    let all = ["a", "b", "c"];
    let mut leases = Vec::new();
    for node in all {
        leases.push(up(redis.target(), node).await);
    }
    let known = cluster(&leases[0], |cluster| are_up(cluster, &all)).await;
    for lease in &leases {
        let same = cluster(lease, |cluster| cluster.table.epoch >= known.table.epoch).await;
        assert_eq!(same, known);
    }
    let member = known.view.member(&"b".into()).unwrap();
    let wanted = identity("b");
    assert_eq!(
        (member.address, member.fingerprint),
        (wanted.address, wanted.fingerprint)
    );
    assert_eq!(member.public_url, wanted.public_url);
    for node in all {
        let own = known.table.placement.shards_of(&node.into()).count();
        assert!((21..=22).contains(&own), "{own}");
    }
}

#[tokio::test]
async fn news_reach_the_others_within_a_heartbeat() {
    let redis = Redis::start();
    let a = up_slowly(redis.target(), "a").await;
    cluster(&a, |cluster| are_up(cluster, &["a"])).await;
    let begun = Instant::now();
    let b = up_slowly(redis.target(), "b").await;
    cluster(&a, |cluster| are_up(cluster, &["a", "b"])).await;
    cluster(&b, |cluster| are_up(cluster, &["a", "b"])).await;
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(15), "{taken:?}");
}

#[tokio::test]
async fn a_killed_node_is_gone_in_two_and_a_half_seconds_and_its_shards_with_it() {
    let mut quickest = PATIENCE;
    for _ in 0..5 {
        quickest = quickest.min(a_node_is_killed().await);
        if quickest < Duration::from_millis(2_500) {
            return;
        }
    }
    panic!("gone after {quickest:?}");
}

/// Answers how long it took until the others knew.
async fn a_node_is_killed() -> Duration {
    let redis = Redis::start();
    let a = up(redis.target(), "a").await;
    let b = up(redis.target(), "b").await;
    let c = up(redis.target(), "c").await;
    let before = cluster(&a, |cluster| are_up(cluster, &["a", "b", "c"])).await;
    cluster(&b, |cluster| are_up(cluster, &["a", "b", "c"])).await;
    let begun = Instant::now();
    drop(c);
    let after = cluster(&a, |cluster| are_up(cluster, &["a", "b"])).await;
    let taken = begun.elapsed();
    assert_eq!(after.view.epoch().0, before.view.epoch().0 + 1, "once");
    let own = before.table.placement.shards_of(&"c".into()).count();
    assert_eq!(before.table.placement.moves(&after.table.placement).count(), own);
    let same = cluster(&b, |cluster| cluster.table.epoch == after.table.epoch).await;
    assert_eq!(same, after);
    taken
}

#[tokio::test]
async fn who_leaves_is_gone_at_once() {
    let redis = Redis::start();
    let a = up_slowly(redis.target(), "a").await;
    let b = up_slowly(redis.target(), "b").await;
    cluster(&a, |cluster| are_up(cluster, &["a", "b"])).await;
    let begun = Instant::now();
    b.leave().await;
    assert_eq!(b.status().borrow().standing, Standing::Left);
    cluster(&a, |cluster| are_up(cluster, &["a"])).await;
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "nobody had to wait for its lease, or for a heartbeat"
    );
}

#[tokio::test]
async fn who_joins_or_drains_owns_nothing() {
    let redis = Redis::start();
    let a = up(redis.target(), "a").await;
    cluster(&a, |cluster| are_up(cluster, &["a"])).await;
    let b = join(settings(redis.target()), identity("b")).await.unwrap();
    let owned = |cluster: &Cluster| cluster.table.placement.shards_of(&"b".into()).count();
    let joining = cluster(&b, |cluster| cluster.view.members().len() == 2).await;
    assert_eq!(owned(&joining), 0);
    b.set_state(NodeState::Up);
    let up = cluster(&a, |cluster| are_up(cluster, &["a", "b"])).await;
    assert_eq!(owned(&up), usize::from(SHARDS) / 2);
    b.set_state(NodeState::Draining);
    let draining = cluster(&a, |cluster| owned(cluster) == 0).await;
    assert_eq!(draining.view.member(&"b".into()).unwrap().state, NodeState::Draining);
}

#[tokio::test]
async fn a_node_that_died_and_came_back_is_another_incarnation() {
    let redis = Redis::start();
    let a = up(redis.target(), "a").await;
    let b = up(redis.target(), "b").await;
    let incarnation = |cluster: &Cluster| cluster.view.member(&"b".into()).unwrap().incarnation;
    let before = cluster(&a, |cluster| are_up(cluster, &["a", "b"])).await;
    drop(b);
    let b = up(redis.target(), "b").await;
    let first = incarnation(&before);
    let later = |cluster: &Cluster| are_up(cluster, &["a", "b"]) && incarnation(cluster) > first;
    let after = cluster(&a, later).await;
    let own = status(&b, |status| status.incarnation.is_some()).await;
    assert_eq!(own.incarnation, Some(incarnation(&after)));
}

#[tokio::test]
async fn of_two_processes_of_one_name_the_later_stays() {
    let redis = Redis::start();
    let first = up(redis.target(), "a").await;
    let second = up(redis.target(), "a").await;
    timeout(PATIENCE, first.lapsed()).await.unwrap();
    assert_eq!(first.status().borrow().standing, Standing::Superseded);
    cluster(&second, |cluster| are_up(cluster, &["a"])).await;
    assert_eq!(second.status().borrow().standing, Standing::Held);
}

#[tokio::test]
async fn many_that_come_at_once_agree_at_every_epoch() {
    let redis = Redis::start();
    let names: Vec<String> = (10..22).map(|number| format!("n{number}")).collect();
    let joining = names.iter().map(|name| {
        let (target, name) = (redis.target(), name.clone());
        tokio::spawn(async move {
            let lease = up(target, &name).await;
            let mut seen = Vec::new();
            let mut clusters = lease.cluster();
            while seen
                .last()
                .is_none_or(|last: &Arc<Cluster>| last.view.members().len() < 12)
            {
                seen.push(clusters.borrow_and_update().clone());
                timeout(PATIENCE, clusters.changed()).await.unwrap().unwrap();
            }
            (lease, seen)
        })
    });
    let mut tables = std::collections::BTreeMap::new();
    let mut leases = Vec::new();
    for node in joining.collect::<Vec<_>>() {
        let (lease, seen) = node.await.unwrap();
        leases.push(lease);
        for cluster in seen {
            let known = tables
                .entry(cluster.table.epoch)
                .or_insert_with(|| cluster.table.clone());
            assert_eq!(*known, cluster.table, "two tables of one epoch");
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let last = cluster(&leases[0], |cluster| are_up(cluster, &names)).await;
    for lease in &leases {
        assert_eq!(
            cluster(lease, |cluster| are_up(cluster, &names)).await.table,
            last.table
        );
    }
}

#[tokio::test]
async fn a_cluster_keeps_its_number_of_shards() {
    let redis = Redis::start();
    let _a = up(redis.target(), "a").await;
    let other = Settings {
        shards: 32,
        ..settings(redis.target())
    };
    let refused = join(other, identity("b")).await.err().unwrap();
    assert_eq!(
        refused,
        CannotJoin::Shards {
            theirs: SHARDS.to_string(),
            ours: 32
        }
    );
}

#[tokio::test]
async fn who_would_not_be_understood_stays_out_and_says_so() {
    let redis = Redis::start();
    let a = up(redis.target(), "a").await;
    let later = Versions {
        oldest: Versions::OWN.newest + 1,
        newest: Versions::OWN.newest + 2,
    };
    let identity = |node: &str| Identity {
        versions: later,
        ..super::identity(node)
    };
    let brief = Settings {
        wait: Duration::from_secs(1),
        ..settings(redis.target())
    };
    let refused = join(brief, identity("b")).await.err();
    let expected = CannotJoin::Versions {
        node: "a".into(),
        theirs: Versions::OWN,
        ours: later,
    };
    assert_eq!(refused, Some(expected));
    cluster(&a, |cluster| are_up(cluster, &["a"])).await;
    // Once the other is gone there is nobody who would not understand.
    let patient = tokio::spawn(join(settings(redis.target()), identity("b")));
    cluster(&a, |cluster| cluster.view.member(&"b".into()).is_some()).await;
    assert!(!patient.is_finished());
    a.leave().await;
    let b = patient.await.unwrap().unwrap();
    assert_eq!(b.cluster().borrow().view.members().len(), 1);
}
