use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;
use crate::wire::MAX_PAYLOAD;

/// Passes on what arrives, so that a test can wait for it.
struct Recorder(Mutex<Sender<(NodeId, Bytes)>>);

impl Sink for Recorder {
    fn receive(&self, from: &NodeId, payload: Bytes) {
        let _ = self.0.lock().send((from.clone(), payload));
    }
}

fn listen(endpoint: &Endpoint) -> Receiver<(NodeId, Bytes)> {
    let (arrived, arrivals) = channel();
    endpoint.deliver_to(Arc::new(Recorder(Mutex::new(arrived))));
    arrivals
}

/// Deliveries run on the runtime's other thread, so that a test may wait as a plain thread does.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap()
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn payloads_of_a_lane_arrive_in_order_and_name_their_sender() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let network = Network::new(1000);
    let (a, b) = (network.join("a".into()), network.join("b".into()));
    let arrivals = listen(&b);
    for number in 0..1000_u32 {
        a.send(&"b".into(), 5, Bytes::copy_from_slice(&number.to_be_bytes()))
            .unwrap();
    }
    for number in 0..1000_u32 {
        let (from, payload) = arrivals.recv_timeout(LONG).unwrap();
        assert_eq!((from, &payload[..]), ("a".into(), &number.to_be_bytes()[..]));
    }
}

#[test]
fn a_full_queue_refuses_the_newest_and_leaves_other_lanes_and_nodes_alone() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let network = Network::new(2);
    let (a, b, c) = (
        network.join("a".into()),
        network.join("b".into()),
        network.join("c".into()),
    );
    let send = |to: &str, lane| a.send(&to.into(), lane, Bytes::from_static(b"x"));
    // Nobody listens on b, so nothing leaves its queues.
    assert_eq!([send("b", 0), send("b", 0)], [Ok(()), Ok(())]);
    assert_eq!(send("b", 0), Err(SendError::Full("b".into())));
    assert_eq!(
        send("b", LANES),
        Err(SendError::Full("b".into())),
        "the same stream by another number"
    );
    assert_eq!([send("b", 1), send("c", 0)], [Ok(()), Ok(())]);
    let arrivals = (listen(&b), listen(&c));
    for _ in 0..3 {
        arrivals.0.recv_timeout(LONG).unwrap();
    }
    arrivals.1.recv_timeout(LONG).unwrap();
    assert_eq!(send("b", 0), Ok(()), "there is room again");
    arrivals.0.recv_timeout(LONG).unwrap();
}

#[test]
fn a_node_that_is_not_there_is_unreachable() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let network = Network::new(2);
    let (a, b) = (network.join("a".into()), network.join("b".into()));
    let send = |from: &Endpoint, to: &str| from.send(&to.into(), 0, Bytes::new());
    assert_eq!(send(&a, "c"), Err(SendError::Unreachable("c".into())));
    assert_eq!(
        send(&a, "a"),
        Err(SendError::Unreachable("a".into())),
        "oneself is the router's business"
    );
    assert_eq!(send(&a, "b"), Ok(()));
    network.leave(&"b".into());
    assert_eq!(send(&a, "b"), Err(SendError::Unreachable("b".into())));
    assert_eq!(
        send(&b, "a"),
        Err(SendError::Unreachable("a".into())),
        "who left does not reach others"
    );
    drop(a);
    let again = network.join("b".into());
    assert_eq!(
        send(&again, "a"),
        Err(SendError::Unreachable("a".into())),
        "a dropped endpoint has left"
    );
}

#[test]
fn a_restarted_node_replaces_its_old_self() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let network = Network::new(2);
    let (a, old) = (network.join("a".into()), network.join("b".into()));
    let lost = listen(&old);
    let new = network.join("b".into());
    let arrivals = listen(&new);
    drop(old);
    a.send(&"b".into(), 0, Bytes::from_static(b"hi")).unwrap();
    assert_eq!(arrivals.recv_timeout(LONG).unwrap().1, "hi");
    assert!(lost.try_recv().is_err());
}

#[test]
fn a_payload_beyond_a_frame_is_refused() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let network = Network::new(2);
    let (a, _b) = (network.join("a".into()), network.join("b".into()));
    let length = MAX_PAYLOAD + 1;
    let node = "b".into();
    assert_eq!(
        a.send(&"b".into(), 0, vec![0; length].into()),
        Err(SendError::TooLarge { node, length })
    );
}
