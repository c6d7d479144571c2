//! TLS 1.3 both ways: each end shows its certificate, and refuses one that no member has.
//!
//! Where certificates are pinned, a dialler accepts one fingerprint only, and who is dialled accepts those of the current
//! members; which of them it is, the handshake settles. Sessions are never resumed, so that every link is checked anew.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
};

use super::Peer;
use super::identity::{Identity, Trust, fingerprint};
use crate::membership::Fingerprint;

/// What is spoken over the connection. Versions are the handshake's, not its.
const ALPN: &[u8] = b"rookery-link";

/// The fingerprints of the current members.
pub(super) type Pins = Arc<RwLock<HashSet<Fingerprint>>>;

/// TLS that cannot be set up: the key does not fit the certificate, or the authority's certificates are unusable.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("use the node's certificate and key: {0}")]
    Key(#[from] Error),
    #[error("use the authority's certificates: {0}")]
    Authority(#[from] VerifierBuilderError),
    #[error("set up QUIC's encryption: {0}")]
    Quic(#[from] NoInitialCipherSuite),
}

/// For who is dialled.
pub(super) fn server(identity: &Identity, pins: Pins) -> Result<quinn::ServerConfig, TlsError> {
    let provider = provider();
    let verifier: Arc<dyn ClientCertVerifier> = match &identity.trust {
        Trust::Pins => Arc::new(Members(pins, provider.clone())),
        Trust::Authority(roots) => {
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?
        }
    };
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.send_tls13_tickets = 0;
    Ok(quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(
        tls,
    )?)))
}

/// For dialling a peer.
pub(super) fn client(identity: &Identity, peer: &Peer) -> Result<quinn::ClientConfig, TlsError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13])?;
    let builder = match &identity.trust {
        Trust::Pins => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(One(peer.fingerprint, provider))),
        Trust::Authority(roots) => builder.with_root_certificates(roots.clone()),
    };
    let mut tls = builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    tls.enable_sni = false;
    Ok(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Accepts the certificates of the members.
#[derive(Debug)]
struct Members(Pins, Arc<CryptoProvider>);

/// Accepts one certificate.
#[derive(Debug)]
struct One(Fingerprint, Arc<CryptoProvider>);

fn refused() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

fn check_signature(
    provider: &CryptoProvider,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature(
        message,
        certificate,
        signed,
        &provider.signature_verification_algorithms,
    )
}

fn too_old() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
}

impl ClientCertVerifier for Members {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let known = self.0.read().contains(&fingerprint(certificate));
        known.then(ClientCertVerified::assertion).ok_or_else(refused)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(&self.1, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for One {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let known = self.0 == fingerprint(certificate);
        known.then(ServerCertVerified::assertion).ok_or_else(refused)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(&self.1, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}
