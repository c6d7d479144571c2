//! The same over TLS, as far as it could differ: what is read and written, what waits for a slow reader, how it ends.

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tokio_rustls::TlsConnector;

use super::*;
use crate::gateway::Settings;
use crate::gateway::tls::Tls;

/// What both ends need for a handshake.
pub(super) struct Ends {
    tls: Tls,
    connector: TlsConnector,
}

impl Ends {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let settings = Settings {
            tls_certificate_file: dir.path().join("chain.pem"),
            tls_key_file: dir.path().join("key.pem"),
            ..Settings::default()
        };
        std::fs::write(&settings.tls_certificate_file, own.cert.pem()).unwrap();
        std::fs::write(&settings.tls_key_file, own.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_slice(own.cert.pem().as_bytes()).unwrap();
        roots.add(trusted).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            tls: Tls::of(&settings).unwrap().unwrap(),
            connector: TlsConnector::from(Arc::new(client)),
        }
    }

    pub(super) async fn shake_hands(&self, client: TcpStream, accepted: TcpStream) -> (Box<dyn Duplex>, Wire) {
        let name = ServerName::try_from("localhost").unwrap();
        let (client, server) = tokio::join!(self.connector.connect(name, client), self.tls.accept(accepted));
        let (tcp, session) = server.unwrap().into_inner();
        let (wire, rest) = Wire::secure(tcp, session).unwrap();
        assert!(rest.is_empty(), "the client has said nothing yet");
        (Box::new(client.unwrap()), wire)
    }
}

async fn rig(limits: Limits) -> Rig {
    Rig {
        tls: Some(Ends::new()),
        ..Rig::new(limits).await
    }
}

#[tokio::test]
async fn frames_go_both_ways() {
    let rig = rig(Limits::default()).await;
    let mut client = rig.connect().await;
    for id in 0..100 {
        let ping = format!(r#"{{"t":"ping","id":"{id}"}}"#);
        client.send(Opcode::Text, ping.as_bytes()).await;
        let pong = serde_json::json!({"t": "pong", "id": id.to_string()});
        assert_eq!(client.next_json().await, pong);
    }
    let large = "x".repeat(60_000);
    let ping = format!(r#"{{"t":"sing","id":"l","more":"{large}"}}"#);
    client.send(Opcode::Text, ping.as_bytes()).await;
    assert_eq!(client.next_json().await["code"], "unsupported");
}

#[tokio::test]
async fn a_slow_reader_is_refused_and_hears_of_the_end_of_it() {
    exchange::slow_reader(rig(Limits::default()).await).await;
}

#[tokio::test]
async fn the_last_word_is_the_close_frame() {
    let rig = rig(Limits::default()).await;
    let mut client = rig.connect().await;
    rig.outlet().push(&frame(5), Urgency::Sequenced);
    rig.outlet().close(CloseCode::LoggedOut);
    assert_eq!(client.next_json().await["t"], "pong");
    assert_eq!(client.closed().await, Some(4001));
    rig.until("it is forgotten", |rig| rig.hub.connections() == 0).await;
}

#[tokio::test]
async fn a_client_that_breaks_off_is_forgotten() {
    let rig = rig(Limits::default()).await;
    drop(rig.connect().await);
    rig.until("it is forgotten", |rig| rig.hub.connections() == 0).await;
    assert_eq!(rig.log.detached.load(SeqCst), 1);
}
