//! While Redis is away, the nodes stay with the view they have and messages flow; who signs in is asked to wait.

use crate::services::Service;
use crate::support::cluster::nodes_seen_by;
use crate::support::{Server, number};
use crate::traffic::{Traffic, is_refused_for_now};

/// Every node sees all of them, each with its share.
async fn the_view_stays(server: &Server) {
    for node in &server.nodes {
        let seen = nodes_seen_by(node).await;
        assert_eq!(seen.len(), server.nodes.len(), "{seen:?}");
        assert!(seen.iter().all(|node| number(&node["shards"]) > 0), "{seen:?}");
        assert_eq!(node.admin().get("/readyz").await.status, 200);
    }
}

#[tokio::test]
async fn a_redis_that_is_killed_or_stands_still_is_not_missed_by_who_talks() {
    let redis = Service::start("redis").await;
    let server = Server::with(&[("REDIS__URL", &redis.address())]).await;
    let traffic = Traffic::start(&server).await;
    let [ada, brian, _] = &traffic.users;
    traffic.goes_on(20).await;

    redis.kill().await;
    is_refused_for_now(&ada.try_log_in(&ada.password).await);
    is_refused_for_now(&brian.try_refresh().await);
    // Longer than any lease.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    traffic.goes_on(20).await;
    the_view_stays(&server).await;
    redis.start_again().await;
    server.agree().await;
    ada.log_in_again().await;

    redis.pause();
    is_refused_for_now(&ada.try_log_in(&ada.password).await);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    traffic.goes_on(20).await;
    the_view_stays(&server).await;
    redis.resume();
    server.agree().await;
    ada.log_in_again().await;
    traffic.goes_on(20).await;
    assert_eq!(traffic.refusals(), 0, "nobody who talks needs Redis");
    traffic.end().await;
}
