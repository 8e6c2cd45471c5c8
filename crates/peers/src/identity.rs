//! The key of a process, and how others recognise it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What is pinned of a key: the SHA-256 of its SubjectPublicKeyInfo (RFC 7469 s2.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    /// The pin of a certificate's key; `None`: it is not a certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let hash = digest(&SHA256, parsed.public_key().raw);
        Some(Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes")))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…")
    }
}

/// The key of this process. It is not kept anywhere: the next process has another one.
#[derive(Clone)]
pub struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
    pin: Pin,
}

impl Identity {
    /// Makes a key.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new() -> Result<Self, rcgen::Error> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // No name and no date of it is ever looked at.
        let certificate = CertificateParams::default().self_signed(&pair)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key).expect("it is a key of that type");
        let pin = Pin::of(certificate.der()).expect("it was made above");
        Ok(Self { key: Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)), pin })
    }

    /// What the row of this process in the database has to show.
    pub fn pin(&self) -> Pin {
        self.pin
    }
}
