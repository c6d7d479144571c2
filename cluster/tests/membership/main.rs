//! Promise: nodes find each other at Redis, a dead one is noticed, all have the same table at the same epoch, and a Redis
//! that is away, stands still or lost its data changes nothing. Proven on real servers that the tests start and end.

// Clippy takes only functions marked as tests for tests.
#![allow(clippy::unwrap_used)]

// A file of the testkit, which is there for other crates only.
#[path = "../../src/testkit/deadline.rs"]
mod deadline;
mod failover;
mod faults;
mod proxy;
mod server;
mod together;

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rookery_cluster::id::NodeId;
use rookery_cluster::membership::lease::{Standing, Timing};
use rookery_cluster::membership::service::{CannotJoin, Identity, Lease, Settings, Status, join};
use rookery_cluster::membership::{Cluster, NodeState};
use rookery_cluster::primary::Target;
use rookery_cluster::wire::Versions;
use tokio::time::timeout;

const SHARDS: u16 = 64;
/// Longer than anything takes; what is expected sooner is measured, and of several tries the quickest counts, as the machine may
/// have other work.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(redis: Target) -> Settings {
    Settings {
        redis,
        prefix: "test".into(),
        timing: Timing::default(),
        shards: SHARDS,
        wait: PATIENCE,
    }
}

fn identity(node: &str) -> Identity {
    Identity {
        node: NodeId::from(node),
        weight: NonZeroU8::MIN,
        address: "127.0.0.1:7000".parse().unwrap(),
        fingerprint: [7; 32],
        public_url: Some(format!("https://{node}.example.com")),
        versions: Versions::OWN,
    }
}

/// A node that is up.
async fn up(redis: Target, node: &str) -> Lease {
    up_with(settings(redis), node).await
}

/// The same where nothing comes by waiting: whatever is seen soon was told.
async fn up_slowly(redis: Target, node: &str) -> Lease {
    let timing = Timing {
        heartbeat: Duration::from_secs(20),
        ttl: Duration::from_secs(60),
        ..Timing::default()
    };
    let settings = Settings {
        timing,
        ..settings(redis)
    };
    up_with(settings, node).await
}

async fn up_with(settings: Settings, node: &str) -> Lease {
    let lease = join(settings, identity(node)).await.unwrap();
    lease.set_state(NodeState::Up);
    lease
}

/// Waits until a node knows a cluster like this.
async fn cluster(lease: &Lease, is: impl Fn(&Cluster) -> bool) -> Arc<Cluster> {
    let mut clusters = lease.cluster();
    let waiting = clusters.wait_for(|cluster| is(cluster));
    match timeout(PATIENCE, waiting).await {
        Ok(cluster) => cluster.unwrap().clone(),
        Err(_) => panic!("still {:?}", lease.cluster().borrow().view),
    }
}

async fn status(lease: &Lease, is: impl Fn(&Status) -> bool) -> Status {
    let mut status = lease.status();
    let waiting = status.wait_for(|status| is(status));
    match timeout(PATIENCE, waiting).await {
        Ok(status) => *status.unwrap(),
        Err(_) => panic!("still {:?}", lease.status().borrow()),
    }
}

/// Whether exactly these are up, in a view whose table is known.
fn are_up(cluster: &Cluster, nodes: &[&str]) -> bool {
    let members = cluster.view.members();
    let up = members.iter().filter(|member| member.state == NodeState::Up);
    let names: Vec<&str> = up.map(|member| &*member.node.0).collect();
    names == nodes && members.len() == nodes.len() && cluster.table.epoch == cluster.view.epoch()
}
