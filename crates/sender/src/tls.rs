//! The certificates that the client trusts: those of the system, and those of the caller; and why it rejects others.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::error::{ClientError, Distrust, SendError};

/// HTTP/2 where there is a choice (RFC 9113 s3.2).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// TLS with the roots of the system and the certificates in the PEM text `extra_ca`.
pub(crate) fn config(extra_ca: &[u8]) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| ClientError::Setup(e.to_string()))?
        .with_root_certificates(roots(extra_ca)?)
        .with_no_client_auth();
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// The TLS library's error. It is inside an IO error, which does not return it as its source.
pub(crate) fn failure<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(carried) => failure(carried),
        None => cause.downcast_ref(),
    }
}

/// Why a handshake failed with `error`, for the caller.
pub(crate) fn explained(error: &rustls::Error) -> SendError {
    match error {
        rustls::Error::InvalidCertificate(why) => SendError::Untrusted(distrust(why)),
        rustls::Error::InvalidMessage(_) => SendError::Connect("the server there does not use TLS".to_owned()),
        other => SendError::Connect(other.to_string()),
    }
}

fn distrust(why: &CertificateError) -> Distrust {
    use CertificateError as E;
    match why {
        // A bad signature: a trusted authority has the name of the issuer, and another key, as after it was made anew.
        E::UnknownIssuer | E::BadSignature => Distrust::Issuer,
        E::Expired | E::ExpiredContext { .. } => Distrust::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => Distrust::NotYetValid,
        E::NotValidForName | E::NotValidForNameContext { .. } => Distrust::OtherHost,
        other => Distrust::Other(other.to_string()),
    }
}

fn roots(extra_ca: &[u8]) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    // Some systems have malformed certificates among their roots: the client does not trust those.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let unreadable = |e: &dyn std::fmt::Display| ClientError::Ca(e.to_string());
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(extra_ca) {
        roots.add(certificate.map_err(|e| unreadable(&e))?).map_err(|e| unreadable(&e))?;
    }
    match roots.len() {
        0 => Err(ClientError::NoRoots),
        n if n == before && !extra_ca.is_empty() => Err(unreadable(&"they contain no certificate")),
        _ => Ok(roots),
    }
}
