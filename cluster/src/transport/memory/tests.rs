use std::time::Duration;

use super::*;
use crate::testkit::contract::Bench;
use crate::testkit::{LONG, listen};

/// Nodes of one network. Deliveries run on the runtime's other thread, so that a test may wait as a plain thread does.
struct Cluster {
    network: Network,
    runtime: tokio::runtime::Runtime,
    /// Replaced ones too: they do not leave by being dropped.
    endpoints: Mutex<Vec<Arc<Endpoint>>>,
}

impl Cluster {
    fn new(capacity: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        Self {
            network: Network::new(capacity),
            runtime: runtime.unwrap(),
            endpoints: Mutex::default(),
        }
    }
}

impl Bench for Cluster {
    fn join(&self, node: &str) -> Arc<dyn Transport> {
        let _guard = self.runtime.enter();
        let endpoint = Arc::new(self.network.join(node.into()));
        self.endpoints.lock().push(endpoint.clone());
        endpoint
    }

    fn leave(&self, node: &str) {
        self.network.leave(&node.into());
    }
}

crate::transport_contract!(Cluster::new(64));

#[test]
fn a_full_queue_refuses_the_newest_and_leaves_other_lanes_alone() {
    let cluster = Cluster::new(2);
    let (a, b) = (cluster.join("a"), cluster.join("b"));
    let send = |lane| a.send(&"b".into(), lane, Bytes::from_static(b"x"));
    assert_eq!([send(0), send(0)], [Ok(()), Ok(())]);
    let full = Err(SendError::Full("b".into()));
    assert_eq!(
        [send(0), send(LANES)],
        [full.clone(), full],
        "the same stream by another number"
    );
    assert_eq!(send(1), Ok(()));
    let arrivals = listen(&*b);
    for _ in 0..3 {
        arrivals.recv_timeout(LONG).unwrap();
    }
    assert!(arrivals.recv_timeout(Duration::from_millis(20)).is_err());
}

#[test]
fn a_dropped_endpoint_has_left() {
    let network = Network::new(2);
    let cluster = Cluster::new(2);
    let _guard = cluster.runtime.enter();
    let (a, b) = (network.join("a".into()), network.join("b".into()));
    drop(a);
    assert_eq!(
        b.send(&"a".into(), 0, Bytes::new()),
        Err(SendError::Unreachable("a".into()))
    );
}
