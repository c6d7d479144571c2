//! With a certificate the public listener speaks TLS and nothing else: clients in two other languages, which check it, hold a
//! conversation over it, and links begin with `https`.

use std::path::Path;
use std::process::Command;

use crate::independent_clients::{converse, node, python};
use crate::support::Server;

/// A server with a certificate for `localhost`, and the file of it.
async fn server(dir: &Path) -> (Server, String) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (chain, key) = (file("chain.pem"), file("key.pem"));
    std::fs::write(&chain, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let settings = [
        ("GATEWAY__TLS_CERTIFICATE_FILE", &*chain),
        ("GATEWAY__TLS_KEY_FILE", &*key),
    ];
    (Server::with(&settings).await, chain)
}

/// Both take further authorities from the environment.
fn trusting(mut command: Command, chain: &str) -> Command {
    command.env("SSL_CERT_FILE", chain).env("NODE_EXTRA_CA_CERTS", chain);
    command
}

#[tokio::test]
async fn python_and_node_hold_a_conversation_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (server, chain) = server(dir.path()).await;
    let [door, _] = server.doors();
    let door = door.replace("http://127.0.0.1", "https://localhost");
    let one = trusting(python(&door, "monty", "rookery.v1.json"), &chain);
    let other = trusting(node(&door, "ryan"), &chain);
    converse(server, one, other).await;
}
