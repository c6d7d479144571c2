//! What becomes of links when nodes die, stand still, come back, or lose sight of each other.

use std::sync::mpsc::Receiver;

use tokio::runtime::Runtime;

use super::super::*;
use super::bench::{is_linked, runtime, start};
use crate::testkit::proxy::{Proxy, Weather};
use crate::testkit::{Change, LONG, eventually, listen, observe};

/// Within two seconds, and what a busy machine adds.
const SOON: Duration = Duration::from_secs(4);

/// The nodes a and b, each on a runtime of its own, with a wire between them.
struct Pair {
    a: Arc<QuicTransport>,
    b: Arc<QuicTransport>,
    peers: [Peer; 2],
    wire: Proxy,
    home_a: Runtime,
    home_b: Runtime,
}

impl Pair {
    fn linked() -> Self {
        let (home_a, home_b) = (runtime(1), runtime(1));
        let ((peer_a, a), (mut peer_b, b)) = (start(&home_a, "a", 1), start(&home_b, "b", 2));
        let wire = home_a.block_on(Proxy::to(peer_b.address, 1)).unwrap();
        peer_b.address = wire.address();
        let pair = Self {
            a,
            b,
            peers: [peer_a, peer_b],
            wire,
            home_a,
            home_b,
        };
        pair.a.set_peers(&pair.peers);
        pair.b.set_peers(&pair.peers);
        eventually("both are linked", || pair.is_linked());
        pair
    }

    fn is_linked(&self) -> bool {
        is_linked(&self.a, &self.peers[1]) && is_linked(&self.b, &self.peers[0])
    }
}

fn soon(changes: &Receiver<Change>) -> Change {
    changes.recv_timeout(SOON).expect("a change within seconds")
}

fn up(node: &str) -> Change {
    Change::Up(node.into())
}

fn lost(node: &str) -> Change {
    Change::Lost(node.into())
}

#[test]
fn a_cut_is_noticed_on_both_sides_and_mended_when_it_ends() {
    let pair = Pair::linked();
    let (at_a, at_b) = (observe(&*pair.a), observe(&*pair.b));
    assert_eq!((soon(&at_a), soon(&at_b)), (up("b"), up("a")));
    let cut = Weather {
        cut: true,
        ..Weather::default()
    };
    pair.wire.set(cut);
    assert_eq!((soon(&at_a), soon(&at_b)), (lost("b"), lost("a")));
    let refused = pair.a.send(&"b".into(), 0, Bytes::new());
    assert_eq!(refused, Err(SendError::Unreachable("b".into())));
    pair.wire.set(Weather::default());
    assert_eq!((soon(&at_a), soon(&at_b)), (up("b"), up("a")));
    let arrivals = listen(&*pair.b);
    pair.a.send(&"b".into(), 0, Bytes::from_static(b"hi")).unwrap();
    assert_eq!(arrivals.recv_timeout(LONG).unwrap().1, "hi");
}

#[test]
fn a_killed_node_is_noticed_by_its_silence() {
    let pair = Pair::linked();
    let at_a = observe(&*pair.a);
    assert_eq!(soon(&at_a), up("b"));
    // No task of b runs on, so that it says no goodbye.
    pair.home_b.shutdown_background();
    assert_eq!(soon(&at_a), lost("b"));
}

#[test]
fn a_node_that_stands_still_is_lost_and_comes_back() {
    let pair = Pair::linked();
    let at_a = observe(&*pair.a);
    assert_eq!(soon(&at_a), up("b"));
    let (go_on, stand_still) = std::sync::mpsc::channel::<()>();
    pair.home_b.spawn(async move {
        let _ = stand_still.recv();
    });
    // What is sent meanwhile is bounded: taken up to there, then refused.
    let payload = Bytes::from(vec![0; 1 << 20]);
    let taken = (0..200)
        .filter(|_| pair.a.send(&"b".into(), 0, payload.clone()).is_ok())
        .count();
    assert!((1..100).contains(&taken), "{taken} MiB");
    assert_eq!(soon(&at_a), lost("b"));
    go_on.send(()).unwrap();
    assert_eq!(soon(&at_a), up("b"));
    eventually("b is linked again too", || pair.is_linked());
}

#[test]
fn a_wire_that_loses_and_delays_changes_nothing_of_what_arrives() {
    let pair = Pair::linked();
    pair.wire.set(Weather {
        delay: Duration::from_millis(2),
        loss_percent: 5,
        cut: false,
    });
    let arrivals = listen(&*pair.b);
    for number in 0..20_000_u32 {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        pair.a.send(&"b".into(), 3, payload).unwrap();
    }
    for number in 0..20_000_u32 {
        assert_eq!(arrivals.recv_timeout(LONG).unwrap().1[..], number.to_be_bytes()[..]);
    }
    assert!(pair.is_linked(), "it never broke");
}

#[test]
fn a_node_that_shuts_down_flushes_what_is_queued() {
    let pair = Pair::linked();
    let arrivals = listen(&*pair.b);
    let at_b = observe(&*pair.b);
    assert_eq!(soon(&at_b), up("a"));
    for number in 0..20_000_u32 {
        let payload = Bytes::from(number.to_be_bytes().repeat(50));
        pair.a.send(&"b".into(), u64::from(number % 7), payload).unwrap();
    }
    pair.home_a.block_on(pair.a.shutdown(Duration::from_secs(20)));
    let refused = pair.a.send(&"b".into(), 0, Bytes::new());
    assert_eq!(refused, Err(SendError::Unreachable("b".into())));
    assert_eq!(soon(&at_b), lost("a"));
    assert_eq!(arrivals.try_iter().count(), 20_000, "before the loss was told");
}

#[test]
fn a_shutdown_keeps_its_deadline_when_the_peer_is_gone() {
    let pair = Pair::linked();
    let cut = Weather {
        cut: true,
        ..Weather::default()
    };
    pair.wire.set(cut);
    pair.a.send(&"b".into(), 0, Bytes::from(vec![0; 1 << 20])).unwrap();
    let begin = Instant::now();
    pair.home_a.block_on(pair.a.shutdown(Duration::from_millis(300)));
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
}

#[test]
fn a_node_with_a_new_incarnation_gets_a_new_link() {
    let pair = Pair::linked();
    let (at_a, at_b) = (observe(&*pair.a), observe(&*pair.b));
    assert_eq!((soon(&at_a), soon(&at_b)), (up("b"), up("a")));
    let mut reborn = pair.peers.clone();
    reborn[0].incarnation = Incarnation(9);
    // The node itself and its peer may learn it in any order, and at any distance of time.
    pair.b.set_peers(&reborn);
    assert_eq!((soon(&at_a), soon(&at_b)), (lost("b"), lost("a")));
    pair.a.set_peers(&reborn);
    assert_eq!((soon(&at_a), soon(&at_b)), (up("b"), up("a")));
    assert!(is_linked(&pair.b, &reborn[0]));
}

#[test]
fn a_peer_that_left_and_came_back_has_one_link() {
    let pair = Pair::linked();
    let at_a = observe(&*pair.a);
    assert_eq!(soon(&at_a), up("b"));
    for _ in 0..5 {
        pair.a.set_peers(&pair.peers[..1]);
        pair.a.set_peers(&pair.peers);
    }
    pair.a.set_peers(&pair.peers[..1]);
    eventually("the link ends", || pair.a.links().is_empty());
    pair.a.set_peers(&pair.peers);
    eventually("both are linked", || pair.is_linked());
    let connections = || pair.a.shared.endpoint.open_connections();
    eventually("all others have been closed", || connections() == 1);
    let mut changes = vec![up("b")];
    changes.extend(at_a.try_iter());
    assert!(
        changes.chunks(2).all(|turn| turn.first() == Some(&up("b"))),
        "{changes:?}"
    );
    assert!(
        changes
            .chunks(2)
            .all(|turn| turn.get(1).is_none_or(|change| *change == lost("b"))),
        "{changes:?}"
    );
}
