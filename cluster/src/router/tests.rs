use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::membership::{Epoch, Member};
use crate::transport::memory::Network;
use crate::wire::{MAX_PAYLOAD, Malformed};

/// Malformed when empty.
#[derive(Debug, PartialEq)]
struct Note(Vec<u8>);

impl Wire for Note {
    fn encode(&self) -> Bytes {
        self.0.clone().into()
    }

    fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let bytes = Some(bytes.to_vec()).filter(|bytes| !bytes.is_empty());
        bytes.map(Self).ok_or(Malformed("empty"))
    }
}

struct Recorder(Mutex<Sender<(NodeId, Note)>>);

impl Handler<Note> for Recorder {
    fn handle(&self, from: &NodeId, note: Note) {
        let _ = self.0.lock().send((from.clone(), note));
    }
}

fn serve(router: &Router<Note>) -> Receiver<(NodeId, Note)> {
    let (handled, notes) = channel();
    router.serve(Arc::new(Recorder(Mutex::new(handled))));
    notes
}

fn table(epoch: u64, nodes: &[&str], shards: u16) -> Table {
    let member = |node: &&str| Member::alone(NodeId::from(*node));
    Table::of(&View::new(Epoch(epoch), nodes.iter().map(member).collect()), shards).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap()
}

/// Routers of the nodes `a` and `b` in one network.
fn pair(capacity: usize) -> (Router<Note>, Router<Note>) {
    let network = Network::new(capacity);
    let router = |node: &str| {
        Router::new(
            node.into(),
            table(1, &["a", "b"], 64),
            Arc::new(network.join(node.into())),
        )
    };
    (router("a"), router("b"))
}

fn shard_of(router: &Router<Note>, node: &str) -> ShardId {
    router.table().placement.shards_of(&node.into()).next().unwrap()
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_node_alone_handles_everything_inline() {
    let router = Router::<Note>::alone("a".into(), 256).unwrap();
    let notes = serve(&router);
    for shard in [0, 63, 64, 255] {
        assert!(router.is_local(ShardId(shard)));
        assert_eq!(router.owner(ShardId(shard)), "a".into());
        router.send_to_shard(ShardId(shard), Note(vec![shard as u8])).unwrap();
        // Handled before the send returned, or this would fail.
        assert_eq!(notes.try_recv().unwrap(), ("a".into(), Note(vec![shard as u8])));
    }
    router.send_to_node(&"a".into(), 9, Note(vec![1])).unwrap();
    assert_eq!(notes.try_recv().unwrap().1, Note(vec![1]));
    assert_eq!(
        router.send_to_node(&"b".into(), 9, Note(vec![1])),
        Err(SendError::Unreachable("b".into()))
    );
}

#[test]
fn nothing_is_taken_before_the_node_serves() {
    let router = Router::<Note>::alone("a".into(), 8).unwrap();
    assert_eq!(
        router.send_to_shard(ShardId(0), Note(vec![1])),
        Err(SendError::NotServing)
    );
    let notes = serve(&router);
    router.send_to_shard(ShardId(0), Note(vec![2])).unwrap();
    assert_eq!(notes.try_recv().unwrap().1, Note(vec![2]));
}

#[test]
fn messages_reach_the_owner_of_their_shard_in_order() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let (a, b) = pair(1000);
    let (at_a, at_b) = (serve(&a), serve(&b));
    let shard = shard_of(&a, "b");
    assert!(!a.is_local(shard) && b.is_local(shard));
    assert_eq!(a.owner(shard), "b".into());
    for number in 0..=255 {
        a.send_to_shard(shard, Note(vec![number])).unwrap();
    }
    for number in 0..=255 {
        assert_eq!(at_b.recv_timeout(LONG).unwrap(), ("a".into(), Note(vec![number])));
    }
    b.send_to_node(&"a".into(), 7, Note(vec![7])).unwrap();
    assert_eq!(at_a.recv_timeout(LONG).unwrap(), ("b".into(), Note(vec![7])));
}

#[test]
fn a_malformed_message_is_dropped_and_the_next_one_arrives() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let (a, b) = pair(10);
    let at_b = serve(&b);
    a.send_to_node(&"b".into(), 0, Note(vec![])).unwrap();
    a.send_to_node(&"b".into(), 0, Note(vec![1])).unwrap();
    assert_eq!(at_b.recv_timeout(LONG).unwrap().1, Note(vec![1]));
}

#[test]
fn a_full_queue_is_the_senders_to_know() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let (a, b) = pair(1);
    let send = || a.send_to_node(&"b".into(), 0, Note(vec![1]));
    assert_eq!([send(), send()], [Ok(()), Err(SendError::Full("b".into()))]);
    let at_b = serve(&b);
    at_b.recv_timeout(LONG).unwrap();
    assert!(at_b.try_recv().is_err(), "what was refused does not arrive");
}

#[test]
fn an_oversized_message_is_refused_for_good() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let (a, _b) = pair(1);
    let refused = a
        .send_to_node(&"b".into(), 0, Note(vec![0; MAX_PAYLOAD + 1]))
        .unwrap_err();
    assert!(!refused.is_transient(), "{refused}");
    assert!(SendError::Full("b".into()).is_transient());
}

#[test]
fn a_table_is_replaced_by_a_later_one_only() {
    let router = Router::<Note>::new("a".into(), table(5, &["a"], 128), Arc::new(NoPeers));
    assert!(!router.install(table(5, &["a", "b"], 128)), "the same epoch");
    assert!(!router.install(table(4, &["a", "b"], 128)), "an earlier epoch");
    assert!(!router.install(table(6, &["a", "b"], 64)), "another number of shards");
    assert_eq!(router.table().epoch, Epoch(5));
    assert!(router.install(table(6, &["a", "b"], 128)));
    let next = table(6, &["a", "b"], 128);
    for shard in (0..128).map(ShardId) {
        assert_eq!(router.owner(shard), *next.placement.owner(shard));
        assert_eq!(router.is_local(shard), *next.placement.owner(shard) == "a".into());
    }
}

#[test]
fn local_messages_are_never_encoded() {
    struct Mute;
    impl Wire for Mute {
        fn encode(&self) -> Bytes {
            panic!("a local message was encoded")
        }
        fn decode(_: &Bytes) -> Result<Self, Malformed> {
            Err(Malformed("mute"))
        }
    }
    struct Ears(AtomicUsize);
    impl Handler<Mute> for Ears {
        fn handle(&self, _: &NodeId, _: Mute) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (mute, ears) = (
        Router::<Mute>::alone("a".into(), 8).unwrap(),
        Arc::new(Ears(AtomicUsize::new(0))),
    );
    mute.serve(ears.clone());
    mute.send_to_shard(ShardId(3), Mute).unwrap();
    mute.send_to_node(&"a".into(), 3, Mute).unwrap();
    assert_eq!(ears.0.load(Ordering::Relaxed), 2);
}

#[test]
fn a_dropped_router_is_gone_for_its_transport_too() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let (a, b) = pair(10);
    let at_b = serve(&b);
    drop(b);
    assert!(at_b.recv_timeout(LONG).is_err(), "the handler went with the router");
    assert_eq!(
        a.send_to_node(&"b".into(), 0, Note(vec![1])),
        Err(SendError::Unreachable("b".into()))
    );
}
