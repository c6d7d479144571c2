//! Who is let in.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::runtime::Runtime;

use super::super::*;
use super::bench::{is_linked, runtime, start, start_as};
use crate::testkit::eventually;

/// The label of why a node cannot dial a peer.
fn refused(runtime: &Runtime, from: &QuicTransport, to: &Peer) -> &'static str {
    let dialled = runtime.block_on(greeting::dial(&from.shared, to, Incarnation(1)));
    dialled.map(|_| ()).expect_err("a link that must not be").reason()
}

fn other(peer: &Peer) -> Peer {
    Peer {
        fingerprint: [7; 32],
        ..peer.clone()
    }
}

#[test]
fn a_wrong_fingerprint_is_refused_by_the_dialler() {
    let runtime = runtime(2);
    let ((a, at_a), (b, at_b)) = (start(&runtime, "a", 1), start(&runtime, "b", 2));
    at_b.set_peers(&[a.clone(), b.clone()]);
    at_a.set_peers(&[a, other(&b)]);
    assert_eq!(refused(&runtime, &at_a, &other(&b)), "certificate");
    assert!(at_a.links().is_empty() && at_b.links().is_empty());
}

#[test]
fn a_wrong_fingerprint_is_refused_by_who_is_dialled() {
    let runtime = runtime(2);
    let ((a, at_a), (b, at_b)) = (start(&runtime, "a", 1), start(&runtime, "b", 2));
    at_b.set_peers(&[other(&a), b.clone()]);
    at_a.set_peers(&[a, b.clone()]);
    assert_eq!(refused(&runtime, &at_a, &b), "certificate");
    assert!(at_a.links().is_empty() && at_b.links().is_empty());
}

#[test]
fn a_node_that_is_no_member_is_refused_until_it_is() {
    let runtime = runtime(2);
    let ((a, at_a), (b, at_b)) = (start(&runtime, "a", 1), start(&runtime, "b", 2));
    at_b.set_peers(std::slice::from_ref(&b));
    at_a.set_peers(&[a.clone(), b.clone()]);
    assert_eq!(refused(&runtime, &at_a, &b), "certificate");
    at_b.set_peers(&[a.clone(), b.clone()]);
    eventually("both are linked", || is_linked(&at_a, &b) && is_linked(&at_b, &a));
}

#[test]
fn a_member_that_says_it_is_another_is_refused() {
    let runtime = runtime(2);
    let ((a, _at_a), (b, at_b), (c, at_c)) = (
        start(&runtime, "a", 1),
        start(&runtime, "b", 2),
        start(&runtime, "c", 3),
    );
    // A node with c's certificate and a's name.
    let stolen = Identity {
        node: "a".into(),
        chain: at_c.shared.identity.chain.clone(),
        key: at_c.shared.identity.key.clone_key(),
        trust: at_c.shared.identity.trust.clone(),
    };
    let (_, impostor) = start_as(&runtime, stolen, 1);
    at_b.set_peers(&[a.clone(), b.clone(), c]);
    impostor.set_peers(&[a, b.clone()]);
    assert_eq!(refused(&runtime, &impostor, &b), "refused");
    assert!(at_b.links().is_empty());
}

#[test]
fn an_earlier_life_of_a_node_is_refused() {
    let runtime = runtime(2);
    let ((a, at_a), (b, at_b)) = (start(&runtime, "a", 5), start(&runtime, "b", 2));
    let reborn = Peer {
        incarnation: Incarnation(6),
        ..a.clone()
    };
    at_b.set_peers(&[reborn, b.clone()]);
    at_a.set_peers(&[a, b.clone()]);
    assert_eq!(refused(&runtime, &at_a, &b), "refused");
    assert!(at_b.links().is_empty());
}

/// Files of an authority and of the certificates that it signed.
struct Office {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Office {
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let office = Self { directory, issuer };
        office.write("authority", &office.issuer.pem());
        office
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path(file);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// An identity of the node `node`, with a certificate in the name of `named`.
    fn issue(&self, node: &str, named: &str) -> Result<Identity, identity::IdentityError> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([named.to_owned()])
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        let certificate = self.write(&format!("{node}.crt"), &certificate.pem());
        let key = self.write(&format!("{node}.key"), &key.serialize_pem());
        Identity::from_files(node.into(), &self.path("authority"), &certificate, &key)
    }
}

#[test]
fn certificates_of_one_authority_link_whatever_their_fingerprints() {
    let (runtime, office) = (runtime(2), Office::open());
    let node = |name: &str, incarnation| start_as(&runtime, office.issue(name, name).unwrap(), incarnation);
    let ((a, at_a), (b, at_b)) = (node("node-a", 1), node("node-b", 2));
    let members = [other(&a), other(&b)];
    at_a.set_peers(&members);
    at_b.set_peers(&members);
    eventually("both are linked", || is_linked(&at_a, &b) && is_linked(&at_b, &a));
}

#[test]
fn a_certificate_of_the_authority_in_another_name_is_refused_both_ways() {
    let (runtime, office) = (runtime(2), Office::open());
    assert!(matches!(
        office.issue("node-a", "node-x"),
        Err(identity::IdentityError::Nameless { .. })
    ));
    let node = |name: &str, named: &str, incarnation| {
        let mut identity = office.issue(named, named).unwrap();
        identity.node = name.into();
        start_as(&runtime, identity, incarnation)
    };
    let honest = [node("node-a", "node-a", 1), node("node-d", "node-d", 1)];
    let (bad, at_bad) = node("node-b", "node-c", 2);
    let members = [honest[0].0.clone(), bad.clone(), honest[1].0.clone()];
    honest
        .iter()
        .chain([&(bad.clone(), at_bad.clone())])
        .for_each(|(_, at)| at.set_peers(&members));
    // The honest dials the bad, then the bad the honest.
    assert_eq!(refused(&runtime, &honest[0].1, &bad), "certificate");
    assert_eq!(refused(&runtime, &at_bad, &honest[1].0), "refused");
    assert!(at_bad.links().is_empty());
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (runtime, ours, theirs) = (runtime(2), Office::open(), Office::open());
    let ((a, at_a), (b, at_b)) = (
        start_as(&runtime, ours.issue("node-a", "node-a").unwrap(), 1),
        start_as(&runtime, theirs.issue("node-b", "node-b").unwrap(), 2),
    );
    let members = [a, b.clone()];
    at_a.set_peers(&members);
    at_b.set_peers(&members);
    assert_eq!(refused(&runtime, &at_a, &b), "certificate");
}

#[test]
fn an_identity_that_cannot_be_read_says_which_file() {
    let office = Office::open();
    let said = |authority: &str, certificate: &str, key: &str| {
        let path = |file| office.path(file);
        let made = Identity::from_files("node-a".into(), &path(authority), &path(certificate), &path(key));
        made.map(|_| ()).unwrap_err().to_string()
    };
    office.issue("node-a", "node-a").unwrap();
    office.write("empty", "");
    assert!(said("missing", "node-a.crt", "node-a.key").contains("missing"));
    assert!(said("authority", "missing", "node-a.key").contains("missing"));
    assert!(said("authority", "node-a.crt", "missing").contains("missing"));
    assert!(said("empty", "node-a.crt", "node-a.key").contains("no certificate"));
}
