//! The certificate of the domain and its key, in one file: so both are replaced together.

use std::io::ErrorKind;
use std::path::Path;

use doorbell_private_file as private_file;
use doorbell_protocol::time::UnixMs;
use instant_acme::CertificateIdentifier;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::self_signed::Validity;
use super::super::{CertificateResolver, Identity, TlsError};
use super::error::AcmeError;
use crate::clock::rfc3339;

/// The file of chain and key.
pub(super) const FILE: &str = "certificate.pem";

/// A chain with its key, as PEM.
pub(super) struct Certificate {
    pem: String,
    leaf: CertificateDer<'static>,
    validity: Validity,
}

impl Certificate {
    /// Reads a chain and its key.
    ///
    /// # Errors
    /// [`AcmeError::Certificate`] if the first certificate cannot be read or is not for `domain`.
    pub(super) fn from_pem(pem: String, domain: &str) -> Result<Self, AcmeError> {
        let wrong = |why: String| AcmeError::Certificate { why };
        let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|error| wrong(error.to_string()))?;
        let validity = Validity::of(&parsed);
        let name = ServerName::try_from(domain).map_err(|error| wrong(error.to_string()))?;
        ParsedCertificate::try_from(&leaf)
            .and_then(|parsed| verify_server_name(&parsed, &name))
            .map_err(|error| wrong(format!("it is not for {domain} ({error})")))?;
        Ok(Self { pem, leaf, validity })
    }

    /// The one that an earlier run saved.
    pub(super) fn load(folder: &Path, domain: &str) -> Result<Option<Self>, AcmeError> {
        let path = folder.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(pem) => {
                let saved = Self::from_pem(pem, domain)?;
                // Whether the key is there, and belongs to it.
                CertificateResolver::empty().replace(saved.identity()?)?;
                Ok(Some(saved))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(AcmeError::File { path, source }),
        }
    }

    pub(super) fn save(&self, folder: &Path) -> Result<(), AcmeError> {
        let path = folder.join(FILE);
        private_file::replace(&path, self.pem.as_bytes()).map_err(|source| AcmeError::File { path, source })
    }

    pub(super) fn identity(&self) -> Result<Identity, TlsError> {
        let wrong = |what| move |source| TlsError::Pem { what, path: FILE.to_owned(), source };
        let chain = CertificateDer::pem_slice_iter(self.pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(wrong("a certificate chain"))?;
        let key = PrivateKeyDer::from_pem_slice(self.pem.as_bytes()).map_err(wrong("a private key"))?;
        Ok(Identity { chain, key })
    }

    /// When it ends, for the log (RFC 3339).
    pub(super) fn end(&self) -> String {
        rfc3339(UnixMs::from_secs(self.validity.not_after.unix_timestamp()))
    }

    pub(super) fn validity(&self) -> Validity {
        self.validity
    }

    /// Its name in requests about its renewal (RFC 9773 s4.1); `None` if the authority gave it none.
    pub(super) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        CertificateIdentifier::try_from(&self.leaf).ok().map(CertificateIdentifier::into_owned)
    }
}

/// A time of the wall clock as a date. One that no certificate can have counts as the nearest that one can.
pub(super) fn date(now: UnixMs) -> OffsetDateTime {
    super::super::self_signed::plausible(now)
}
