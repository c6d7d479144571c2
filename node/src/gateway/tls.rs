//! TLS of the public listener, where no balancer ends it: the certificate, the handshake, and a new certificate while serving.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Settings;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the files are looked at: a certificate is renewed long before the old one ends.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What makes of a TCP stream one with TLS.
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

/// The certificate that clients are shown, and where it is from.
#[derive(Debug)]
struct Certificate {
    chain_file: PathBuf,
    key_file: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Tls {
    /// As the configuration has it; none where it names no certificate. An error is one sentence that names the key.
    pub fn of(settings: &Settings) -> Result<Option<Self>, String> {
        if settings.tls_certificate_file.as_os_str().is_empty() {
            return Ok(None);
        }
        Self::load(&settings.tls_certificate_file, &settings.tls_key_file).map(Some)
    }

    fn load(chain_file: &Path, key_file: &Path) -> Result<Self, String> {
        let provider = Arc::new(default_provider());
        let current = read(chain_file, key_file, &provider)?;
        let certificate = Arc::new(Certificate {
            chain_file: chain_file.to_owned(),
            key_file: key_file.to_owned(),
            provider: Arc::clone(&provider),
            current: RwLock::new(Arc::new(current)),
        });
        let unusable = |error: rustls::Error| format!("gateway.tls_certificate_file: TLS cannot be set up: {error}");
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A fleet that comes back resumes its sessions: no signature each, and nothing kept here for it.
        config.ticketer = Ticketer::new().map_err(unusable)?;
        config.send_tls13_tickets = 1;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
        })
    }

    /// The handshake.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(tcp)).await?
    }

    /// Shows clients a new certificate soon after its files are there.
    pub async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let tls = Arc::clone(&self);
            tokio::task::spawn_blocking(move || tls.renew()).await.ok();
        }
    }

    /// Shows clients what the files hold now, if that is new and whole; whether they could be read. Blocking.
    pub fn renew(&self) -> bool {
        match self.certificate.renew() {
            Ok(true) => tracing::info!("clients are shown a new certificate"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error, "the certificate stays as it was");
                return false;
            }
        }
        true
    }
}

impl Certificate {
    /// True when the files hold another one than before.
    fn renew(&self) -> Result<bool, String> {
        let found = read(&self.chain_file, &self.key_file, &self.provider)?;
        let is_new = found.cert != self.current.read().cert;
        if is_new {
            *self.current.write() = Arc::new(found);
        }
        Ok(is_new)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

fn read(chain_file: &Path, key_file: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let unread = |key: &str, file: &Path, error: rustls::pki_types::pem::Error| {
        format!("gateway.{key}: {} cannot be read: {error}", file.display())
    };
    let unread_chain = |error| unread("tls_certificate_file", chain_file, error);
    let chain: Vec<_> = CertificateDer::pem_file_iter(chain_file)
        .map_err(unread_chain)?
        .collect::<Result<_, _>>()
        .map_err(unread_chain)?;
    if chain.is_empty() {
        let place = chain_file.display();
        return Err(format!(
            "gateway.tls_certificate_file: {place} holds no certificate in PEM form"
        ));
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unread("tls_key_file", key_file, error))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let (chain, key) = (chain_file.display(), key_file.display());
        format!(
            "gateway.tls_certificate_file and gateway.tls_key_file: {chain} and {key} cannot be used together: {error}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a fresh certificate and its key, and says where.
    fn files(dir: &Path) -> (PathBuf, PathBuf) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (dir.join("chain.pem"), dir.join("key.pem"));
        std::fs::write(&chain, own.cert.pem()).unwrap();
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        (chain, key)
    }

    #[test]
    fn a_new_certificate_is_shown_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = files(dir.path());
        let tls = Tls::load(&chain, &key).unwrap();
        let shown = || tls.certificate.current.read().cert.clone();
        let first = shown();
        assert_eq!(tls.certificate.renew(), Ok(false));
        let older = std::fs::read(&key).unwrap();
        files(dir.path());
        let newer = std::fs::read(&key).unwrap();
        std::fs::write(&key, older).unwrap();
        let error = tls.certificate.renew().unwrap_err();
        assert!(error.contains("cannot be used together"), "{error}");
        assert_eq!(shown(), first, "half of a pair is none");
        std::fs::write(&key, newer).unwrap();
        assert_eq!(tls.certificate.renew(), Ok(true));
        assert_ne!(shown(), first);
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said_by_key_and_path() {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = files(dir.path());
        let complaint = |chain: &Path, key: &Path| Tls::load(chain, key).err().unwrap();
        let nowhere = dir.path().join("nowhere.pem");
        let missing = complaint(&nowhere, &key);
        assert!(missing.starts_with("gateway.tls_certificate_file:"), "{missing}");
        let missing = complaint(&chain, &nowhere);
        assert!(
            missing.starts_with("gateway.tls_key_file:") && missing.contains("nowhere.pem"),
            "{missing}"
        );
        let empty = complaint(&key, &key);
        assert!(empty.contains("no certificate"), "{empty}");
    }
}
