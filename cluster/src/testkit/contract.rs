//! The contract of [`Transport`], as tests that every transport passes: [`transport_contract!`](crate::transport_contract)
//! makes a test of each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Change, LONG, eventually, listen, observe};
use crate::id::NodeId;
use crate::transport::{SendError, Transport};
use crate::wire::MAX_PAYLOAD;

/// A cluster on the transport that is tried.
pub trait Bench {
    /// Starts a node, or starts it anew: the one of that name before is replaced, and goes on running as a zombie does
    /// until it notices. Returns when it and all other nodes have links to each other.
    fn join(&self, node: &str) -> Arc<dyn Transport>;

    /// Ends a node, and tells the others.
    fn leave(&self, node: &str);
}

/// Makes a test of each promise of a transport. The expression makes a [`Bench`].
#[macro_export]
macro_rules! transport_contract {
    ($bench:expr) => {
        $crate::transport_contract! { @tests $bench;
            payloads_of_a_lane_arrive_in_order_and_name_their_sender
            payloads_of_every_size_arrive_whole
            who_does_not_read_is_felt_by_the_senders_to_that_lane_alone
            a_node_that_is_not_there_is_unreachable
            a_restarted_node_replaces_its_old_self
            nothing_of_an_old_link_arrives_after_the_new_ones_first
            a_payload_beyond_a_frame_is_refused
            observers_hear_of_links_by_turns
        }
    };
    (@tests $bench:expr; $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $crate::testkit::contract::$name(&$bench);
        })*
    };
}

/// Sends, and waits while there is no room.
fn push(transport: &dyn Transport, to: &str, lane: u64, payload: &Bytes) {
    let mut sent = Ok(());
    eventually("room", || {
        sent = transport.send(&to.into(), lane, payload.clone());
        !matches!(sent, Err(SendError::Full(_)))
    });
    assert_eq!(sent, Ok(()));
}

pub fn payloads_of_a_lane_arrive_in_order_and_name_their_sender(bench: &dyn Bench) {
    const LANES: u32 = 16;
    let (a, b) = (bench.join("a"), bench.join("b"));
    for (from, to, name) in [(&a, &b, "b"), (&b, &a, "a")] {
        let arrivals = listen(&**to);
        for number in 0..4000_u32 {
            let payload = Bytes::copy_from_slice(&number.to_be_bytes());
            push(&**from, name, u64::from(number % LANES), &payload);
        }
        let mut latest = [None; LANES as usize];
        for _ in 0..4000 {
            let (sender, payload) = arrivals.recv_timeout(LONG).expect("all that was sent");
            assert_ne!(sender, name.into());
            let number = u32::from_be_bytes(payload[..].try_into().expect("four bytes"));
            let before = latest[(number % LANES) as usize].replace(number);
            assert_eq!(before, number.checked_sub(LANES), "of its lane");
        }
        assert!(arrivals.try_recv().is_err(), "more than was sent");
    }
}

pub fn payloads_of_every_size_arrive_whole(bench: &dyn Bench) {
    let (a, b) = (bench.join("a"), bench.join("b"));
    let arrivals = listen(&*b);
    for size in [0, 1, 1199, 1452, 16_384, 65_536, 1 << 20, MAX_PAYLOAD, 3] {
        let payload: Bytes = (0..size).map(|at| (at % 251) as u8).collect();
        push(&*a, "b", 9, &payload);
        let arrived = arrivals.recv_timeout(LONG).expect("what was sent").1;
        assert!(arrived == payload, "{size} bytes");
    }
}

/// Sends numbered payloads of 256 KiB on a lane until there is lastingly no room.
fn fill(transport: &dyn Transport, to: &str, lane: u64) -> u32 {
    let (mut taken, mut refused) = (0, 0);
    while refused < 20 {
        let mut payload = vec![0; 256 << 10];
        payload[..4].copy_from_slice(&u32::to_be_bytes(taken));
        match transport.send(&to.into(), lane, payload.into()) {
            Ok(()) => (taken, refused) = (taken + 1, 0),
            Err(error) => {
                assert_eq!(error, SendError::Full(to.into()));
                assert!(error.is_transient());
                refused += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        assert!(taken < 256, "64 MiB wait for one lane");
    }
    taken
}

pub fn who_does_not_read_is_felt_by_the_senders_to_that_lane_alone(bench: &dyn Bench) {
    let (a, b, c) = (bench.join("a"), bench.join("b"), bench.join("c"));
    // Nobody listens on b.
    let taken = fill(&*a, "b", 0);
    let small = Bytes::from_static(b"small");
    let other = (1..64).find(|lane| a.send(&"b".into(), *lane, small.clone()).is_ok());
    assert!(other.is_some(), "no other lane takes anything");
    let elsewhere = listen(&*c);
    push(&*a, "c", 0, &small);
    assert_eq!(elsewhere.recv_timeout(LONG).expect("another node").1, small);

    let arrivals = listen(&*b);
    let mut expected = 0;
    for _ in 0..=taken {
        let payload = arrivals.recv_timeout(LONG).expect("all that was taken").1;
        if payload != small {
            assert_eq!(payload[..4], u32::to_be_bytes(expected)[..]);
            expected += 1;
        }
    }
    assert_eq!(expected, taken);
    push(&*a, "b", 0, &small);
    assert_eq!(arrivals.recv_timeout(LONG).expect("there is room again").1, small);
}

pub fn a_node_that_is_not_there_is_unreachable(bench: &dyn Bench) {
    let (a, b) = (bench.join("a"), bench.join("b"));
    let send = |from: &Arc<dyn Transport>, to: &str| from.send(&to.into(), 0, Bytes::new());
    assert_eq!(send(&a, "c"), Err(SendError::Unreachable("c".into())));
    assert_eq!(
        send(&a, "a"),
        Err(SendError::Unreachable("a".into())),
        "oneself is the router's business"
    );
    assert_eq!(send(&a, "b"), Ok(()));
    bench.leave("b");
    eventually("the others notice", || {
        send(&a, "b") == Err(SendError::Unreachable("b".into()))
    });
    eventually("who left does not reach others", || {
        send(&b, "a") == Err(SendError::Unreachable("a".into()))
    });
}

pub fn a_restarted_node_replaces_its_old_self(bench: &dyn Bench) {
    for (restarted, other) in [("b", "a"), ("a", "b")] {
        let (steady, old) = (bench.join(other), bench.join(restarted));
        let lost = listen(&*old);
        let new = bench.join(restarted);
        let arrivals = listen(&*new);
        push(&*steady, restarted, 0, &Bytes::from_static(b"hi"));
        assert_eq!(arrivals.recv_timeout(LONG).expect("the new one hears").1, "hi");
        assert!(lost.try_recv().is_err(), "the old one does not");
        let unreachable = Err(SendError::Unreachable(other.into()));
        eventually("the old one is cut off", || {
            old.send(&other.into(), 0, Bytes::new()) == unreachable
        });
    }
}

pub fn nothing_of_an_old_link_arrives_after_the_new_ones_first(bench: &dyn Bench) {
    for (restarted, other) in [("b", "a"), ("a", "b")] {
        let (steady, old) = (bench.join(other), bench.join(restarted));
        let arrivals = listen(&*steady);
        let flood = std::thread::spawn(move || {
            let old_word = Bytes::from(vec![b'o'; 2000]);
            let unreachable = Err(SendError::Unreachable(other.into()));
            eventually("the old one is cut off", || {
                (0..500).any(|lane| old.send(&other.into(), lane, old_word.clone()) == unreachable)
            });
        });
        assert_eq!(arrivals.recv_timeout(LONG).expect("the old one's").1[0], b'o');
        let new = bench.join(restarted);
        for lane in 0..16 {
            push(&*new, other, lane, &Bytes::from_static(b"new"));
        }
        let words = std::iter::from_fn(|| arrivals.recv_timeout(LONG).ok());
        let late: Vec<bool> = words
            .map(|(_, word)| word == "new")
            .skip_while(|new| !new)
            .take(16)
            .collect();
        assert_eq!(late, [true; 16], "old ones among the new");
        flood.join().expect("the flood ends");
        assert!(arrivals.try_recv().is_err(), "more than the new ones");
    }
}

pub fn a_payload_beyond_a_frame_is_refused(bench: &dyn Bench) {
    let (a, _b) = (bench.join("a"), bench.join("b"));
    let (node, length) = (NodeId::from("b"), MAX_PAYLOAD + 1);
    let refused = a.send(&node, 0, vec![0; length].into());
    assert_eq!(refused, Err(SendError::TooLarge { node, length }));
}

pub fn observers_hear_of_links_by_turns(bench: &dyn Bench) {
    let (a, _b) = (bench.join("a"), bench.join("b"));
    let changes = observe(&*a);
    let next = || changes.recv_timeout(LONG).expect("a change");
    let (up, lost) = (Change::Up("b".into()), Change::Lost("b".into()));
    assert_eq!(next(), up, "of a link that is up already");
    let _again = bench.join("b");
    assert_eq!([next(), next()], [lost.clone(), up.clone()]);
    bench.leave("b");
    assert_eq!(next(), lost);
    let _once_more = bench.join("b");
    assert_eq!(next(), up);
    assert!(changes.try_recv().is_err());
}
