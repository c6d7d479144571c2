//! Promise: each service is reached over TLS and with credentials as the configuration names them; where certificate, password or
//! protocol do not fit, the start ends soon, with one sentence that says what to correct and keeps the secrets.
//!
//! Every test has an authority of its own, and starts its service once.

mod kafka;
mod mongo;
mod redis;
mod s3;
mod sentinel;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rookery_actors::ports::{PortError, PortResult};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

use crate::support::fresh;

/// Longer than any refusal takes, however busy the machine. What a service is waited for is set below it.
const SOON: Duration = Duration::from_secs(60);
/// Nothing that is said may contain it.
const SECRET: &str = "hush-hush";

/// Signs certificates of services, and is in a file for who trusts it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // One that is called as what it signs is taken for that.
        params.distinguished_name.push(DnType::CommonName, fresh("authority"));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A file that is there and holds no certificate.
    fn no_certificate(&self) -> PathBuf {
        let file = self.directory.path().join("empty.pem");
        std::fs::write(&file, "nothing\n").unwrap();
        file
    }

    /// A certificate for this machine, and its key.
    fn certificate(&self) -> (String, String) {
        self.certificate_of(HERE)
    }

    fn certificate_of(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let signed = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer);
        (signed.unwrap().pem(), key.serialize_pem())
    }

    /// Connects whoever trusts this authority alone.
    fn connector(&self) -> TlsConnector {
        let mut trusted = RootCertStore::empty();
        let pem = self.issuer.pem();
        trusted
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(trusted)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

/// What a certificate for this machine names, and one for another.
const HERE: &[&str] = &["localhost", "127.0.0.1"];
const ELSEWHERE: &[&str] = &["elsewhere.example.com"];

/// Holds a start to a refusal that comes soon, in one sentence with these words and without a secret.
async fn refused<T>(open: impl Future<Output = PortResult<T>>, words: &[&str]) -> PortError {
    let begun = Instant::now();
    let error = open.await.err().expect("it is refused");
    assert!(begun.elapsed() < SOON, "{error} came after {:?}", begun.elapsed());
    one_sentence(&error.to_string(), words);
    error
}

fn one_sentence(text: &str, words: &[&str]) {
    println!("{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
    assert!(!text.contains('\n') && text.len() < 400, "no sentence: {text}");
    assert!(!text.contains(SECRET), "tells the secret: {text}");
}

fn is_for_the_operator(error: &PortError) {
    assert!(matches!(error, PortError::Broken(_)), "waiting does not help: {error}");
}
