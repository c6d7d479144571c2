use super::super::control::Beat;
use super::*;

fn node(name: &str) -> Introduction {
    introduce(&name.into(), Incarnation(7))
}

fn known(_: &NodeId) -> Standing {
    Standing::Member { least: Incarnation(7) }
}

fn refusal(handshake: Handshake, own: &str, said: Say, standing: Standing) -> Refusal {
    match handshake.next(&node(own), said, |_| standing) {
        (Handshake::Refused(refusal), None) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_members_agree_by_a_hello_and_a_welcome() {
    let (dialler, hello) = Handshake::dial(node("a"), "b".into());
    let (listener, welcome) = Handshake::Listening.next(&node("b"), hello, known);
    let (dialler, nothing) = dialler.next(&node("a"), welcome.unwrap(), known);
    assert_eq!(nothing, None);
    let terms = |node: &str| Terms {
        node: node.into(),
        incarnation: Incarnation(7),
        version: VERSION,
        most_bytes: MAX_PAYLOAD,
    };
    assert_eq!(
        (dialler, listener),
        (Handshake::Agreed(terms("b")), Handshake::Agreed(terms("a")))
    );
}

#[test]
fn the_newest_common_version_and_the_smaller_limit_count() {
    let cases = [
        ((1, 1), (1, 1), Some(1)),
        ((1, 2), (2, 3), Some(2)),
        ((2, 5), (1, 3), Some(3)),
        ((2, 3), (1, 1), None),
        ((1, 1), (2, 3), None),
        ((1, 300), (300, 300), None),
    ];
    for (ours, theirs, expected) in cases {
        let own = Introduction {
            oldest: ours.0,
            newest: ours.1,
            ..node("b")
        };
        let hello = Introduction {
            oldest: theirs.0,
            newest: theirs.1,
            most_bytes: 1000,
            ..node("a")
        };
        let version = match Handshake::Listening.next(&own, Say::Hello(hello), known).0 {
            Handshake::Agreed(terms) => {
                assert_eq!(terms.most_bytes, 1000);
                Some(terms.version)
            }
            Handshake::Refused(Refusal::Version { .. }) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(version, expected, "{ours:?} and {theirs:?}");
    }
}

#[test]
fn whoever_is_not_a_living_member_is_refused_both_ways() {
    let ways = [
        (Handshake::Listening, "b", Say::Hello(node("a")), "a"),
        (Handshake::Greeted("b".into()), "a", Say::Welcome(node("b")), "b"),
    ];
    for (handshake, own, said, peer) in ways {
        let refused = |standing| refusal(handshake.clone(), own, said.clone(), standing);
        assert_eq!(refused(Standing::Stranger), Refusal::Stranger(peer.into()));
        assert_eq!(refused(Standing::Impostor), Refusal::Impostor(peer.into()));
        let stale = Refusal::Stale {
            node: peer.into(),
            theirs: 7,
            least: 8,
        };
        assert_eq!(refused(Standing::Member { least: Incarnation(8) }), stale);
        // A later life than the view knows of is the future of the view.
        let accepted = handshake
            .clone()
            .next(&node(own), said.clone(), |_| Standing::Member { least: Incarnation(6) })
            .0;
        assert!(matches!(accepted, Handshake::Agreed(_)));
    }
}

#[test]
fn the_node_with_the_larger_name_does_not_dial() {
    let member = Standing::Member { least: Incarnation(0) };
    for larger in ["c", "b"] {
        let refused = refusal(Handshake::Listening, "b", Say::Hello(node(larger)), member);
        assert_eq!(refused, Refusal::WrongWay(larger.into()));
    }
    assert!(dials(&"a".into(), &"b".into()) && !dials(&"b".into(), &"a".into()) && !dials(&"a".into(), &"a".into()));
}

#[test]
fn another_node_than_the_one_dialled_is_refused() {
    let member = Standing::Member { least: Incarnation(0) };
    let refused = refusal(Handshake::Greeted("b".into()), "a", Say::Welcome(node("c")), member);
    assert_eq!(refused, Refusal::Mistaken("c".into()));
}

#[test]
fn anything_else_than_the_next_step_is_refused() {
    let member = Standing::Member { least: Incarnation(0) };
    let beat = Beat { sent: 1 };
    let cases = [
        (Handshake::Listening, Say::Ping(beat)),
        (Handshake::Listening, Say::Welcome(node("a"))),
        (Handshake::Greeted("b".into()), Say::Hello(node("b"))),
        (Handshake::Greeted("b".into()), Say::Pong(beat)),
    ];
    for (handshake, said) in cases {
        assert_eq!(refusal(handshake, "a", said, member), Refusal::OutOfTurn);
    }
    let end = Handshake::Refused(Refusal::OutOfTurn);
    assert_eq!(
        end.clone().next(&node("b"), Say::Hello(node("a")), |_| member),
        (end, None)
    );
}

#[test]
fn every_refusal_has_a_code_of_its_own() {
    let name = NodeId::from("a");
    let refusals = [
        Refusal::Stranger(name.clone()),
        Refusal::Impostor(name.clone()),
        Refusal::Mistaken(name.clone()),
        Refusal::Stale {
            node: name.clone(),
            theirs: 1,
            least: 2,
        },
        Refusal::Version { oldest: 1, newest: 1 },
        Refusal::WrongWay(name),
        Refusal::OutOfTurn,
    ];
    let codes: std::collections::HashSet<u32> = refusals.iter().map(Refusal::code).collect();
    assert_eq!(codes.len(), refusals.len());
}
