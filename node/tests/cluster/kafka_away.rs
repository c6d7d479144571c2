//! While Kafka is away, sends are refused with a time to try again, and everything else goes on; when it is back, so are they.

use crate::services::Service;
use crate::support::Server;
use crate::traffic::Traffic;

/// What does not need the log: sockets, history, the inbox, logins.
async fn the_rest_goes_on(server: &Server, traffic: &Traffic) {
    let [ada, brian, cleo] = &traffic.users;
    for user in [ada, brian, cleo] {
        let inbox = user.get("/api/conversations?limit=10").await.is(200);
        let chat = inbox["items"][0]["id"].as_str().unwrap().to_owned();
        user.get(&format!("/api/messages/{chat}?limit=10")).await.is(200);
    }
    let mut late = cleo.connect().await;
    late.settle().await;
    late.close().await;
    ada.log_in_again().await;
    for node in &server.nodes {
        assert_eq!(node.admin().get("/healthz").await.status, 200);
    }
}

#[tokio::test]
async fn a_kafka_that_is_killed_or_stands_still_is_waited_for() {
    let kafka = Service::start("kafka").await;
    let server = Server::with(&[("KAFKA__BROKERS", &kafka.address())]).await;
    let traffic = Traffic::start(&server).await;
    traffic.goes_on(20).await;

    kafka.kill().await;
    traffic.is_refused().await;
    the_rest_goes_on(&server, &traffic).await;
    kafka.start_again().await;
    traffic.goes_on(20).await;

    kafka.pause();
    traffic.is_refused().await;
    the_rest_goes_on(&server, &traffic).await;
    kafka.resume();
    traffic.goes_on(20).await;
    traffic.end().await;
}

#[tokio::test]
async fn one_of_three_brokers_is_not_missed() {
    let brokers = Service::three_brokers().await;
    let addresses: Vec<String> = brokers.iter().map(Service::address).collect();
    let server = Server::with(&[
        ("KAFKA__BROKERS", &addresses.join(",")),
        ("KAFKA__REPLICATION_FACTOR", "3"),
        ("KAFKA__MIN_INSYNC_REPLICAS", "2"),
    ])
    .await;
    let traffic = Traffic::start(&server).await;
    traffic.goes_on(20).await;
    brokers[0].kill().await;
    traffic.goes_on(40).await;
    brokers[0].start_again().await;
    traffic.goes_on(20).await;
    traffic.end().await;
}
