//! Who a node is to its peers, and how it knows them: a certificate that it made itself and that is pinned, or one that an
//! authority signed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;

use super::Peer;
use crate::id::NodeId;
use crate::membership::Fingerprint;

/// A node's certificate and key, and what it asks of its peers'.
pub struct Identity {
    pub(super) node: NodeId,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) trust: Trust,
}

/// How a node knows its peers.
#[derive(Clone)]
pub(super) enum Trust {
    /// By the fingerprints in the membership.
    Pins,
    /// By certificates that this authority signed and that name the node.
    Authority(Arc<RootCertStore>),
}

/// A node that cannot say who it is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("make a certificate for node {node}: {error}")]
    Make { node: NodeId, error: rcgen::Error },
    #[error("read {path}: {error}")]
    Read {
        path: PathBuf,
        error: rustls::pki_types::pem::Error,
    },
    #[error("{path} holds no certificate")]
    Empty { path: PathBuf },
    #[error("use the certificates of the authority in {path}: {error}")]
    Authority { path: PathBuf, error: rustls::Error },
    #[error(
        "the certificate in {path} does not name node {node}: its subject alternative names must have it as a DNS name"
    )]
    Nameless { path: PathBuf, node: NodeId },
}

impl Identity {
    /// A certificate of the node's own making, for as long as this process lives. Peers pin its fingerprint, which the
    /// membership tells them.
    pub fn make(node: NodeId) -> Result<Self, IdentityError> {
        let made = rcgen::generate_simple_self_signed([node.to_string()]);
        match made {
            Ok(made) => Ok(Self {
                chain: vec![made.cert.der().clone()],
                key: PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
                trust: Trust::Pins,
                node,
            }),
            Err(error) => Err(IdentityError::Make { node, error }),
        }
    }

    /// A certificate that an authority signed, in PEM files. It must have the node's name among its subject alternative
    /// names, as must the peers', and be good for servers and clients. Small files, read at once.
    pub fn from_files(node: NodeId, authority: &Path, certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(authority)? {
            let path = authority.to_owned();
            roots
                .add(root)
                .map_err(|error| IdentityError::Authority { path, error })?;
        }
        let chain = certificates(certificate)?;
        if !chain.first().is_some_and(|own| names(own, &node)) {
            let path = certificate.to_owned();
            return Err(IdentityError::Nameless { path, node });
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| IdentityError::Read {
            path: key.to_owned(),
            error,
        })?;
        Ok(Self {
            node,
            chain,
            key,
            trust: Trust::Authority(Arc::new(roots)),
        })
    }

    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// SHA-256 of the certificate: what goes into the membership.
    pub fn fingerprint(&self) -> Fingerprint {
        self.chain.first().map(fingerprint).unwrap_or_default()
    }
}

impl Trust {
    /// Whether a certificate, which TLS has accepted, is this peer's.
    pub(super) fn is_of(&self, certificate: &CertificateDer<'_>, peer: &Peer) -> bool {
        match self {
            Self::Pins => fingerprint(certificate) == peer.fingerprint,
            Self::Authority(_) => names(certificate, &peer.node),
        }
    }
}

pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    let mut out = Fingerprint::default();
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, certificate).as_ref());
    out
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let read = |error| IdentityError::Read {
        path: path.to_owned(),
        error,
    };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(read)?
        .collect::<Result<_, _>>()
        .map_err(read)?;
    if found.is_empty() {
        let path = path.to_owned();
        return Err(IdentityError::Empty { path });
    }
    Ok(found)
}

fn names(certificate: &CertificateDer<'_>, node: &NodeId) -> bool {
    let Ok(name) = ServerName::try_from(&*node.0) else {
        return false;
    };
    ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
}
