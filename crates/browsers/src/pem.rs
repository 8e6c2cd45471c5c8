//! The certificates in a file of authorities.

use std::fs;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::error::BrowserError;

/// A file of certificate authorities: at least one, in the order in which the file has them.
pub(crate) struct Authorities {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// The file as it is.
    pub(crate) pem: Vec<u8>,
}

impl Authorities {
    /// Reads the file.
    pub(crate) fn read(file: &Path) -> Result<Self, BrowserError> {
        let pem = fs::read(file).map_err(BrowserError::io("read", file))?;
        let unusable = |reason: String| BrowserError::CaFile { file: file.to_owned(), reason };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("there is no certificate in it".to_owned()));
        }
        debug_assert!(!pem.is_empty(), "a certificate has bytes");
        Ok(Self { certificates, pem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            fs::write(file.path(), text).unwrap();
            assert!(matches!(Authorities::read(file.path()), Err(BrowserError::CaFile { .. })), "{text:?}");
        }
        assert!(matches!(Authorities::read(Path::new("/no/such/file")), Err(BrowserError::Io { .. })));
    }
}
