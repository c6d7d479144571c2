//! Files of certificates: the authorities that sign a service's. What stands in the way of TLS is told apart here, as every client
//! wraps it in errors of its own.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Reads such a file and makes sure that there is something in it to trust: clients make of one that they do not understand
/// what they like, from a panic to trust in nobody. An error is one sentence that names the key.
pub fn read(key: &str, file: &Path) -> Result<Vec<u8>, String> {
    let place = file.display();
    let pem = std::fs::read(file).map_err(|error| format!("{key}: {place} cannot be read: {error}"))?;
    let damaged = |why: String| format!("{key}: {place} holds a certificate that cannot be used: {why}");
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| damaged("its PEM is broken".into()))?;
        authorities
            .add(certificate)
            .map_err(|error| damaged(error.to_string()))?;
    }
    match authorities.is_empty() {
        true => Err(format!("{key}: {place} holds no certificate in PEM form")),
        false => Ok(pem),
    }
}

/// Why no TLS came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// The service's certificate is signed by nobody who is trusted, is not for this name, or not for this time.
    Certificate,
    /// What answers is no TLS.
    Plain,
}

/// What of it an error tells, wherever it stands in the chain.
pub fn obstacle(error: &(dyn Error + 'static)) -> Option<Obstacle> {
    let mut next = Some(error);
    while let Some(error) = next {
        let of_tls = error.downcast_ref::<rustls::Error>().and_then(of_tls);
        if let Some(found) = of_tls.or_else(|| inside(error)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What an error holds that it does not name as its source.
fn inside(error: &(dyn Error + 'static)) -> Option<Obstacle> {
    if let Some(io) = error.downcast_ref::<io::Error>() {
        return obstacle(io.get_ref()?);
    }
    obstacle(&**error.downcast_ref::<Arc<dyn Error + Send + Sync>>()?)
}

fn of_tls(error: &rustls::Error) -> Option<Obstacle> {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::UnsupportedNameType => Some(Obstacle::Certificate),
        rustls::Error::InvalidMessage(_) => Some(Obstacle::Plain),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustls::{CertificateError, InvalidMessage};

    use super::*;

    fn refused(content: &str) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        read("redis.ca_file", file.path()).unwrap_err()
    }

    #[test]
    fn a_file_without_a_certificate_is_refused_by_its_key() {
        let missing = read("redis.ca_file", Path::new("/nowhere.pem")).unwrap_err();
        assert!(missing.starts_with("redis.ca_file: /nowhere.pem"), "{missing}");
        assert!(refused("").ends_with("holds no certificate in PEM form"));
        let damaged = "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n";
        assert!(refused(damaged).contains("holds a certificate that cannot be used"));
        assert!(refused("-----BEGIN CERTIFICATE-----\n%\n").contains("holds a certificate that cannot be used"));
    }

    #[test]
    fn what_stands_in_the_way_is_found_wherever_it_is() {
        let certificate = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let io = io::Error::other(certificate.clone());
        let wrapped: Arc<dyn Error + Send + Sync> = Arc::new(io::Error::other(io::Error::other(certificate)));
        assert_eq!(obstacle(&io), Some(Obstacle::Certificate));
        assert_eq!(obstacle(&wrapped), Some(Obstacle::Certificate));
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(obstacle(&plain), Some(Obstacle::Plain));
        assert_eq!(obstacle(&io::Error::from(io::ErrorKind::TimedOut)), None);
    }
}
