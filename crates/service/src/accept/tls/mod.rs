//! TLS 1.2 and 1.3 only, with the suites that rustls offers (BCP 195), and a certificate that is renewed while it runs.

mod acme;
mod identity;
mod inspection;
mod looks;
mod renewal;
mod resolver;
pub(crate) mod self_signed;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use thiserror::Error;

pub(crate) use acme::{ACME_TLS, Acme};
pub(crate) use identity::Identity;
pub(crate) use looks::{Gone, Looks};
pub(crate) use renewal::{Certificates, Files, Source};
pub(crate) use resolver::{Attempts, CertificateResolver};

/// Why TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file could not be read, or holds no PEM of this kind.
    #[error("cannot read {what} from {path}: {}", lack(source))]
    Pem {
        /// Certificate chain or private key.
        what: &'static str,
        /// The file.
        path: String,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not match, or rustls does not support their kind.
    #[error(
        "certificate and key cannot be used: {0}; give as tls_key the private key of the first certificate in tls_cert"
    )]
    Unusable(#[from] rustls::Error),
    /// A file of the settings of ACME cannot be used: why, and what to do.
    #[error("{0}")]
    Acme(String),
    /// A folder in the state directory could not be created.
    #[error("cannot create {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The service could not make its own certificate, or could not keep the CA that signs it.
    #[error("cannot make the self-signed certificate: {0}")]
    SelfSigned(String),
}

/// What is wrong with a file, and what to do.
fn lack(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            "there is none in it; give a file in PEM, with lines that begin with -----BEGIN".to_owned()
        }
        other => other.to_string(),
    }
}

impl TlsError {
    /// Whether a file could not be read, which may pass by itself.
    fn is_of_reading(&self) -> bool {
        matches!(self, Self::Pem { source: rustls::pki_types::pem::Error::Io(_), .. })
    }
}

/// The only cryptography provider of the service.
fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// Presents the certificate of `certificates`, offers HTTP/2, HTTP/1.1, HTTP/1.0 and the validation of a domain, and
/// lets clients resume.
///
/// # Errors
/// Those of rustls: its provider has no suite for these versions, or no randomness for the keys of tickets.
pub(crate) fn server_config(certificates: Arc<CertificateResolver>) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificates);
    let protocols: [&[u8]; 4] = [b"h2", b"http/1.1", b"http/1.0", ACME_TLS];
    config.alpn_protocols = protocols.map(<[u8]>::to_vec).to_vec();
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // A client that returns uses one ticket and gets the next one.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
