//! The self-signed CA: created at the first start and kept in the state directory. No client trusts it by default.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use doorbell_private_file as private_file;
use doorbell_protocol::time::UnixMs;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::PrivateKeyDer;
use time::{Duration, OffsetDateTime};
use tracing::warn;

use super::{Identity, TlsError};

/// How long the CA is valid.
const CA_DAYS: i64 = 3650;
/// How long the certificate is valid. Each start creates a new one, and browsers reject longer ones.
const LEAF_DAYS: i64 = 397;

/// The file of the CA's key.
pub(crate) fn key_file(state_dir: &Path) -> PathBuf {
    state_dir.join("ca.key")
}

/// The file of the CA's certificate, for clients to trust.
pub(crate) fn ca_file(state_dir: &Path) -> PathBuf {
    state_dir.join("ca.pem")
}

/// A new certificate for localhost and `host`, signed by the CA of `state_dir`.
pub(crate) fn identity(state_dir: &Path, host: &str, now: UnixMs) -> Result<Identity, TlsError> {
    let failed = |e: rcgen::Error| TlsError::SelfSigned(e.to_string());
    let now = OffsetDateTime::from_unix_timestamp(now.as_secs()).map_err(|e| TlsError::SelfSigned(e.to_string()))?;
    let ca = ca_key(state_dir, now)?;
    let issuer = Issuer::new(ca_params(now), ca);
    let key = KeyPair::generate().map_err(failed)?;
    let leaf = leaf_params(host, now).map_err(failed)?.signed_by(&key, &issuer).map_err(failed)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| TlsError::SelfSigned(e.to_owned()))?;
    Ok(Identity { chain: vec![leaf.der().clone()], key })
}

/// The CA's key from an earlier start, or a new one with its certificate.
///
/// A key whose certificate is lost is kept: clients that trust the old certificate accept the key's signatures.
fn ca_key(state_dir: &Path, now: OffsetDateTime) -> Result<KeyPair, TlsError> {
    let failed = |e: rcgen::Error| TlsError::SelfSigned(e.to_string());
    let io = |path: &Path, e: std::io::Error| TlsError::SelfSigned(format!("{}: {e}", path.display()));
    let (key_file, cert_file) = (key_file(state_dir), ca_file(state_dir));
    let key = match std::fs::read_to_string(&key_file) {
        Ok(pem) => KeyPair::from_pem(&pem).map_err(failed)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let key = KeyPair::generate().map_err(failed)?;
            private_file::replace(&key_file, key.serialize_pem().as_bytes()).map_err(|e| io(&key_file, e))?;
            // An old certificate belongs to another key.
            match std::fs::remove_file(&cert_file) {
                Ok(()) => warn!("the key of the self-signed CA was missing: clients must trust the new ca.pem"),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(io(&cert_file, e)),
            }
            key
        }
        Err(e) => return Err(io(&key_file, e)),
    };
    if !cert_file.try_exists().map_err(|e| io(&cert_file, e))? {
        let certificate = ca_params(now).self_signed(&key).map_err(failed)?;
        private_file::replace_public(&cert_file, certificate.pem().as_bytes()).map_err(|e| io(&cert_file, e))?;
    }
    Ok(key)
}

/// The CA's name and constraints. They must not vary: the issuer of each leaf is built from them again.
fn ca_params(now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Doorbell throw-away CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (now - Duration::DAY, now + Duration::days(CA_DAYS));
    params
}

fn leaf_params(host: &str, now: OffsetDateTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let mut addresses = vec![IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) if !addresses.contains(&ip) => addresses.push(ip),
        Err(_) if host != "localhost" => params.subject_alt_names.push(SanType::DnsName(host.try_into()?)),
        _ => {}
    }
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    params.distinguished_name.push(DnType::CommonName, "Doorbell");
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (now - Duration::DAY, now + Duration::days(LEAF_DAYS));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixMs = UnixMs::from_secs(1_790_000_000);

    #[test]
    fn a_lost_ca_certificate_is_made_again_for_the_key_that_signed_before() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
        identity(dir.path(), "localhost", NOON).unwrap();
        let (key, certificate) = (read("ca.key"), read("ca.pem"));
        std::fs::remove_file(ca_file(dir.path())).unwrap();
        identity(dir.path(), "localhost", NOON).unwrap();
        assert_eq!(read("ca.key"), key);
        assert!(read("ca.pem").starts_with("-----BEGIN CERTIFICATE-----"));
        std::fs::remove_file(dir.path().join("ca.key")).unwrap();
        identity(dir.path(), "localhost", NOON).unwrap();
        assert_ne!(read("ca.pem"), certificate, "a new key has a new certificate");
    }

    #[test]
    fn a_damaged_ca_key_is_refused_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("ca.key");
        std::fs::write(&key, "no key").unwrap();
        assert!(identity(dir.path(), "localhost", NOON).is_err());
        assert_eq!(std::fs::read_to_string(&key).unwrap(), "no key");
    }
}
