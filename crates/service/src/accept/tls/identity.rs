//! A certificate chain with its private key: the identity of a listener.

use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// A chain, beginning with the listener's own certificate, and the private key of that certificate.
/// [`CertificateResolver`](super::CertificateResolver) checks whether they match.
pub(crate) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads chain and key from PEM files.
    ///
    /// # Errors
    /// [`TlsError::Pem`] for a file that cannot be read or has no PEM of its kind.
    pub(crate) fn from_files(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let wrong = |what, path: &Path| {
            let path = path.display().to_string();
            move |source| TlsError::Pem { what, path, source }
        };
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(wrong("a certificate chain", cert))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(wrong("a private key", key))?;
        Ok(Self { chain, key })
    }
}
