//! Redis away, standing still, without its data; a node cut off from it, or standing still itself.

use super::*;
use crate::proxy::Wire;
use crate::server::Redis;

async fn three(redis: &Redis) -> [Lease; 3] {
    let all = ["a", "b", "c"];
    let leases = [
        up(redis.target(), "a").await,
        up(redis.target(), "b").await,
        up(redis.target(), "c").await,
    ];
    for lease in &leases {
        cluster(lease, |cluster| are_up(cluster, &all)).await;
    }
    leases
}

fn now(lease: &Lease) -> Arc<Cluster> {
    lease.cluster().borrow().clone()
}

fn is_frozen(status: &Status) -> bool {
    status.standing == Standing::Frozen
}

fn is_held(status: &Status) -> bool {
    status.standing == Standing::Held
}

#[tokio::test]
async fn a_redis_that_is_away_freezes_the_view_and_one_that_comes_back_empty_is_told() {
    let mut redis = Redis::start();
    let leases = three(&redis).await;
    let before = now(&leases[0]);
    let incarnations = leases.each_ref().map(|lease| lease.status().borrow().incarnation);
    redis.kill();
    for lease in &leases {
        let frozen = status(lease, is_frozen).await;
        assert!(frozen.standing.is_ready(), "service goes on");
        assert_eq!(now(lease), before);
    }
    redis.run();
    for lease in &leases {
        let later = |cluster: &Cluster| cluster.table.epoch > before.table.epoch;
        let after = cluster(lease, later).await;
        assert!(
            are_up(&after, &["a", "b", "c"]),
            "no view in between without some of them: {:?}",
            after.view
        );
        assert_eq!(after.table.placement, before.table.placement, "nothing moves");
        status(lease, is_held).await;
    }
    assert_eq!(
        incarnations,
        leases.each_ref().map(|lease| lease.status().borrow().incarnation)
    );
}

#[tokio::test]
async fn a_redis_that_comes_back_with_its_data_changes_nothing() {
    let mut redis = Redis::durable();
    let leases = three(&redis).await;
    let before = now(&leases[0]);
    redis.kill();
    for lease in &leases {
        status(lease, is_frozen).await;
    }
    // Longer than any lease lives.
    tokio::time::sleep(Timing::default().ttl).await;
    redis.run();
    for lease in &leases {
        status(lease, is_held).await;
        assert_eq!(now(lease), before);
    }
}

#[tokio::test]
async fn a_redis_that_stands_still_takes_nobodys_lease_away() {
    let redis = Redis::start();
    let leases = three(&redis).await;
    let before = now(&leases[0]);
    redis.pause();
    for lease in &leases {
        status(lease, is_frozen).await;
    }
    tokio::time::sleep(2 * Timing::default().ttl).await;
    redis.resume();
    for lease in &leases {
        status(lease, is_held).await;
        assert_eq!(now(lease), before);
    }
}

#[tokio::test]
async fn who_died_while_redis_was_away_is_noticed_when_it_is_back() {
    let mut redis = Redis::start();
    let [a, b, c] = three(&redis).await;
    redis.kill();
    status(&a, is_frozen).await;
    drop(c);
    redis.run();
    for lease in [&a, &b] {
        cluster(lease, |cluster| are_up(cluster, &["a", "b"])).await;
    }
}

#[tokio::test]
async fn who_is_cut_off_is_isolated_when_a_peer_says_so_and_has_lapsed_when_it_is_back() {
    let redis = Redis::start();
    let wire = Wire::to(redis.address()).await;
    let through = Target::parse(&format!("redis://{}", wire.address())).unwrap();
    let a = up(redis.target(), "a").await;
    let b = up(through, "b").await;
    let before = cluster(&a, |cluster| are_up(cluster, &["a", "b"])).await;
    cluster(&b, |cluster| are_up(cluster, &["a", "b"])).await;
    let incarnation = b.status().borrow().incarnation;
    wire.cut();
    let after = cluster(&a, |cluster| are_up(cluster, &["a"])).await;
    assert_eq!(
        status(&b, |status| status.standing != Standing::Held).await.standing,
        Standing::Frozen
    );
    assert_eq!(now(&b), before, "frozen, for all that it knows");
    b.heard(after.view.epoch());
    let isolated = status(&b, |status| status.standing == Standing::Isolated).await;
    assert!(!isolated.standing.is_ready());
    wire.mend();
    timeout(PATIENCE, b.lapsed()).await.unwrap();
    let back = status(&b, is_held).await;
    assert!(back.incarnation > incarnation);
    let joining = cluster(&b, |cluster| cluster.view.epoch() > after.view.epoch()).await;
    assert_eq!(joining.view.member(&"b".into()).unwrap().state, NodeState::Joining);
    assert_eq!(joining.table.placement.shards_of(&"b".into()).count(), 0);
    b.set_state(NodeState::Up);
    cluster(&a, |cluster| are_up(cluster, &["a", "b"])).await;
}

#[tokio::test]
async fn a_process_that_stood_still_finds_itself_lapsed() {
    let redis = Redis::start();
    let a = up(redis.target(), "a").await;
    let target = redis.target();
    // A runtime of its own, of one thread, which is then blocked: nothing of that node moves.
    let paused = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let b = up(target, "b").await;
            cluster(&b, |cluster| are_up(cluster, &["a", "b"])).await;
            std::thread::sleep(2 * Timing::default().ttl);
            timeout(PATIENCE, b.lapsed()).await.unwrap();
            status(&b, is_held).await;
            b.set_state(NodeState::Up);
            cluster(&b, |cluster| are_up(cluster, &["a", "b"])).await;
        });
    });
    cluster(&a, |cluster| are_up(cluster, &["a", "b"])).await;
    cluster(&a, |cluster| are_up(cluster, &["a"])).await;
    tokio::task::spawn_blocking(|| paused.join().unwrap()).await.unwrap();
}

#[tokio::test]
async fn without_redis_nobody_joins_and_one_sentence_says_why() {
    let mut redis = Redis::start();
    redis.kill();
    let impatient = Settings {
        wait: Duration::from_millis(300),
        ..settings(redis.target())
    };
    let refused = join(impatient.clone(), identity("a")).await.err().unwrap().to_string();
    assert!(refused.contains(&redis.address().to_string()), "{refused}");
    let patient = Settings {
        wait: PATIENCE,
        ..impatient
    };
    let joining = tokio::spawn(join(patient, identity("a")));
    redis.run();
    joining.await.unwrap().unwrap();
}
