//! TLS 1.2 and 1.3 only, with the suites that rustls offers (BCP 195).

pub(crate) mod self_signed;

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// Why TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file could not be read, or holds no PEM of the kind.
    #[error("cannot read {what} from {path}: {source}")]
    Pem {
        /// Certificate chain or private key.
        what: &'static str,
        /// The file.
        path: String,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not go together, or are of a kind that rustls does not take.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The throw-away CA could not be made or kept.
    #[error("cannot make the throw-away certificate: {0}")]
    ThrowAway(String),
}

/// Chain and key from the files that somebody gave.
pub(crate) fn from_files(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let wrong = |what, path: &Path| {
        let path = path.display().to_string();
        move |source| TlsError::Pem { what, path, source }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| if chain.is_empty() { Err(rustls::pki_types::pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(wrong("a certificate chain", cert))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(wrong("a private key", key))?;
    server_config(chain, key)
}

/// Offers HTTP/2 and HTTP/1.1, and lets clients resume.
pub(crate) fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // A client that comes back needs one, and gets the next one then.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
