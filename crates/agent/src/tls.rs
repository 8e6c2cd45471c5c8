//! Which certificates the agent trusts: TLS with certificate validation, always (RFC 8030 s3).

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// The certificate authorities that are trusted to identify the service.
#[derive(Clone, Debug)]
pub struct Trust {
    roots: RootCertStore,
}

impl Trust {
    /// The authorities that this system trusts.
    pub fn system() -> Self {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for why in &found.errors {
            tracing::debug!(%why, "some of the system's certificates cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
        Self { roots }
    }

    /// None, to add some with [`Trust::with_file`].
    pub fn none() -> Self {
        Self { roots: RootCertStore::empty() }
    }

    /// Adds the certificates in `file` (PEM), all of which must be valid.
    pub fn with_file(mut self, file: &Path) -> Result<Self, Error> {
        let unusable = |why: String| Error::Trust { file: file.to_path_buf(), why };
        let mut count = 0;
        for certificate in CertificateDer::pem_file_iter(file).map_err(|e| unusable(e.to_string()))? {
            let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
            self.roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(unusable("there is no certificate in it".into()));
        }
        Ok(self)
    }

    /// The TLS side of every connection: HTTP/2 or nothing, since no other protocol can push.
    pub(crate) fn client_config(self) -> Result<Arc<ClientConfig>, Error> {
        if self.roots.is_empty() {
            return Err(Error::NoTrust);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| Error::NoTrust)?
            .with_root_certificates(self.roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}
