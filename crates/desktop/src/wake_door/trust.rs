//! Which certificates identify the service.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::DesktopError;

/// The certificate authorities that are trusted to identify the service.
#[derive(Clone, Debug)]
pub struct Trust {
    roots: RootCertStore,
}

impl Trust {
    /// The authorities of this system and, if there is one, those in `file` (PEM), all of which must be valid.
    pub fn with(file: Option<&Path>) -> Result<Self, DesktopError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for why in &found.errors {
            tracing::debug!(%why, "some of the system's certificates cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
        if let Some(file) = file {
            add(&mut roots, file)?;
        }
        if roots.is_empty() { Err(DesktopError::NoTrust) } else { Ok(Self { roots }) }
    }

    /// TLS for HTTP/2.
    pub(super) fn client_config(self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider supports the default versions");
        let mut config = builder.with_root_certificates(self.roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), DesktopError> {
    let unusable = |reason: String| DesktopError::CaFile { file: file.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| unusable(error.to_string()))?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        count += 1;
    }
    if count == 0 { Err(unusable("there is no certificate in it".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path(), Path::new("/no/such/file")] {
            assert!(matches!(Trust::with(Some(path)), Err(DesktopError::CaFile { .. })), "{}", path.display());
        }
    }
}
