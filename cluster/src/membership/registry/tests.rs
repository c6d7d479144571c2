//! What stands in Redis is read by every release. Recordings hold it (`tests/fixtures/members` and `tables`); how to record,
//! and what may be changed, is said by [`recorded`].

use super::*;
use crate::testkit::recorded::{self, Sample};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn identity(public_url: Option<&str>) -> Identity {
    Identity {
        node: "chat-1".into(),
        weight: NonZeroU8::MIN,
        address: "10.0.1.17:9100".parse().unwrap(),
        fingerprint: [0xab; 32],
        public_url: public_url.map(str::to_owned),
        versions: Versions::default(),
    }
}

/// What is stored of a node, as it stands there.
fn written(identity: &Identity, incarnation: u64, state: NodeState) -> String {
    format!("{incarnation} 1234567890123456789 {}", super::stored(identity, state))
}

fn sample(state: NodeState, public_url: Option<&str>) -> Member {
    let Identity {
        node,
        weight,
        address,
        fingerprint,
        public_url,
        versions,
    } = identity(public_url);
    Member {
        node,
        state,
        weight,
        incarnation: Incarnation(41),
        address,
        fingerprint,
        public_url,
        versions,
    }
}

#[test]
fn members_that_any_release_stored_are_read() {
    let samples: Vec<Sample<Member>> = [NodeState::Joining, NodeState::Up, NodeState::Draining]
        .into_iter()
        .map(|state| {
            (
                word(state).to_owned(),
                sample(state, Some("https://chat-1.example.org")),
            )
        })
        .chain([("up behind a balancer".to_owned(), sample(NodeState::Up, None))])
        .collect();
    let write = |member: &Member| written(&identity(member.public_url.as_deref()), 41, member.state).into_bytes();
    let read =
        |bytes: &[u8]| member("chat-1", std::str::from_utf8(bytes).unwrap()).ok_or_else(|| "no member".to_owned());
    recorded::hold(format!("{FIXTURES}/members"), &samples, write, read);
}

#[test]
fn tables_that_any_release_stored_are_read() {
    let candidates = ["chat-1", "chat-2", "chat-3"].map(|node| crate::placement::Candidate::from(NodeId::from(node)));
    let table = Placement::next(None, candidates, 8).unwrap();
    let samples = [("three nodes".to_owned(), table)];
    let write = |table: &Placement| serde_json::to_vec(table).unwrap();
    let read = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(|error| error.to_string());
    recorded::hold(format!("{FIXTURES}/tables"), &samples, write, read);
}

#[test]
fn what_a_later_release_adds_is_skipped() {
    let before = written(&identity(None), 41, NodeState::Up);
    let after = before.replace("{\"weight\"", "{\"zone\":{\"name\":\"b\"},\"weight\"");
    assert_ne!(before, after);
    assert_eq!(member("chat-1", &after), Some(sample(NodeState::Up, None)));
    // It is linked to, and gets no shards by the tables of this node.
    let resting = before.replace(" up ", " resting ");
    assert_eq!(member("chat-1", &resting), Some(sample(NodeState::Joining, None)));
}

#[test]
fn a_node_from_before_versions_were_said_speaks_the_first() {
    let before = r#"{"weight":1,"address":"10.0.1.17:9100","fingerprint":""#.to_owned() + &"ab".repeat(32) + r#""}"#;
    let found = member("chat-1", &format!("41 7 up {before}")).unwrap();
    assert_eq!(found, sample(NodeState::Up, None));
    assert_eq!(found.versions, Versions { oldest: 1, newest: 1 });
}
