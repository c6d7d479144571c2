use super::super::contract::Bench;
use super::super::{Change, listen, observe};
use super::*;

struct Cluster {
    network: Network,
    _runtime: tokio::runtime::Runtime,
}

impl Cluster {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let network = Network::new(1, 64, Duration::from_millis(1));
        drop(_guard);
        Self {
            network,
            _runtime: runtime,
        }
    }
}

impl Bench for Cluster {
    fn join(&self, node: &str) -> Arc<dyn Transport> {
        Arc::new(self.network.join(node.into()))
    }

    fn leave(&self, node: &str) {
        self.network.leave(&node.into());
    }
}

crate::transport_contract!(Cluster::new());

#[test]
fn a_short_cut_delays_and_a_long_one_loses() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.join("a"), cluster.join("b"));
    let (arrivals, changes) = (listen(&*b), observe(&*b));
    let long = Duration::from_secs(20);
    assert_eq!(changes.recv_timeout(long).unwrap(), Change::Up("a".into()));
    cluster
        .network
        .cut(&"a".into(), &"b".into(), Duration::from_millis(100));
    a.send(&"b".into(), 0, Bytes::from_static(b"late")).unwrap();
    assert_eq!(arrivals.recv_timeout(long).unwrap().1, "late");
    cluster
        .network
        .stand_still(&"a".into(), SILENT_AFTER + Duration::from_secs(3));
    a.send(&"b".into(), 0, Bytes::from_static(b"lost")).unwrap();
    assert_eq!(changes.recv_timeout(long).unwrap(), Change::Lost("a".into()));
    assert!(a.send(&"b".into(), 0, Bytes::new()).is_err());
    assert_eq!(changes.recv_timeout(long).unwrap(), Change::Up("a".into()));
    a.send(&"b".into(), 0, Bytes::from_static(b"next")).unwrap();
    assert_eq!(arrivals.recv_timeout(long).unwrap().1, "next");
    assert!(cluster.network.is_whole());
}

#[test]
fn a_cut_does_not_outlive_the_absence_of_one_of_its_two() {
    let cluster = Cluster::new();
    let a = cluster.join("a");
    cluster
        .network
        .cut(&"a".into(), &"b".into(), Duration::from_millis(100));
    let b = cluster.join("b");
    let arrivals = listen(&*b);
    a.send(&"b".into(), 0, Bytes::from_static(b"heard")).unwrap();
    let arrival = arrivals.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(arrival.1, "heard");
    assert!(cluster.network.is_whole());
}
