//! The certificate of the public listener, renewed while it serves.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::process::{Place, Server};

/// Writes a fresh certificate, and its key, which is another's where the pair is to be broken.
fn renew(dir: &Path, broken: bool) -> CertificateDer<'static> {
    let certificate = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (own, other) = (certificate(), certificate());
    let key = if broken { &other } else { &own }.signing_key.serialize_pem();
    std::fs::write(dir.join("chain.pem"), own.cert.pem()).expect("written");
    std::fs::write(dir.join("key.pem"), key).expect("written");
    CertificateDer::from_pem_slice(own.cert.pem().as_bytes()).expect("a certificate")
}

/// Whether the server shows this certificate to who comes now.
fn is_shown(server: &Server, certificate: &CertificateDer<'static>) -> bool {
    let mut trusted = RootCertStore::empty();
    trusted.add(certificate.clone()).expect("can be trusted");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the versions are known")
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut tcp = TcpStream::connect(server.public_address()).expect("it accepts");
    while client.is_handshaking() {
        if client.complete_io(&mut tcp).is_err() {
            return false;
        }
    }
    true
}

#[test]
fn sighup_shows_clients_the_renewed_certificate_and_no_broken_one() {
    let place = Place::new();
    let first = renew(place.path(), false);
    let files = [
        ("ROOKERY_GATEWAY__TLS_CERTIFICATE_FILE", "chain.pem"),
        ("ROOKERY_GATEWAY__TLS_KEY_FILE", "key.pem"),
    ];
    let mut server = Server::start(&place, &files);
    assert!(is_shown(&server, &first));

    let broken = renew(place.path(), true);
    server.signal("HUP");
    server.wait_for_log("the certificate stays as it was");
    assert!(is_shown(&server, &first) && !is_shown(&server, &broken));

    let second = renew(place.path(), false);
    server.signal("HUP");
    server.wait_for_log("the certificate was read again");
    assert!(is_shown(&server, &second) && !is_shown(&server, &first));
    server.stop();
}
