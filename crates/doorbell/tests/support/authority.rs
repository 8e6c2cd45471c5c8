//! A certificate authority of the test's own, and one certificate that it signs.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate with its key, and the CA that signed it.
pub struct Signed {
    pub ca_pem: String,
    pub pem: String,
    pub der: CertificateDer<'static>,
    pub key: KeyPair,
}

impl Signed {
    /// For a name or an address, until the first day of a year.
    pub fn until(last_year: i32, name: &str) -> Self {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "a test's CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.not_after = date_time_ymd(2100, 1, 1);
        let ca_key = KeyPair::generate().expect("a key");
        let ca_pem = ca.self_signed(&ca_key).expect("a CA").pem();
        let mut leaf = CertificateParams::new([name.to_owned()]).expect("a name");
        (leaf.not_before, leaf.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(last_year, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate");
        Self { ca_pem, pem: leaf.pem(), der: leaf.der().clone(), key }
    }

    /// The private key, as rustls takes it.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key")
    }
}
