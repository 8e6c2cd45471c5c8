//! The throw-away CA: made at the first start, kept in the state directory, trusted by nobody who is not told to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorbell_private_file as private_file;
use doorbell_protocol::time::UnixMs;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use time::{Duration, OffsetDateTime};

use super::tls::{TlsError, server_config};

/// How long the CA is good for.
const CA_DAYS: i64 = 3650;
/// How long the certificate is good for, which is made anew at each start; browsers refuse longer ones.
const LEAF_DAYS: i64 = 397;

/// Where the CA's certificate is, for clients to trust.
pub(crate) fn ca_file(state_dir: &Path) -> PathBuf {
    state_dir.join("ca.pem")
}

/// A fresh certificate for localhost and `host`, signed by the CA of `state_dir`.
pub(crate) fn throw_away(state_dir: &Path, host: &str, now: UnixMs) -> Result<Arc<ServerConfig>, TlsError> {
    let failed = |e: rcgen::Error| TlsError::ThrowAway(e.to_string());
    let now = OffsetDateTime::from_unix_timestamp(now.as_secs()).map_err(|e| TlsError::ThrowAway(e.to_string()))?;
    let ca = ca_key(state_dir, now)?;
    let issuer = Issuer::new(ca_params(now), ca);
    let key = KeyPair::generate().map_err(failed)?;
    let leaf = leaf_params(host, now).map_err(failed)?.signed_by(&key, &issuer).map_err(failed)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| TlsError::ThrowAway(e.to_owned()))?;
    server_config(vec![leaf.der().clone()], key)
}

/// The CA's key from an earlier start, or a new one with its certificate.
fn ca_key(state_dir: &Path, now: OffsetDateTime) -> Result<KeyPair, TlsError> {
    let failed = |e: rcgen::Error| TlsError::ThrowAway(e.to_string());
    let io = |path: &Path, e: std::io::Error| TlsError::ThrowAway(format!("{}: {e}", path.display()));
    let (key_file, cert_file) = (state_dir.join("ca.key"), ca_file(state_dir));
    match std::fs::read_to_string(&key_file) {
        Ok(pem) if cert_file.exists() => KeyPair::from_pem(&pem).map_err(failed),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io(&key_file, e)),
        _ => {
            let key = KeyPair::generate().map_err(failed)?;
            let certificate = ca_params(now).self_signed(&key).map_err(failed)?;
            private_file::replace(&key_file, key.serialize_pem().as_bytes()).map_err(|e| io(&key_file, e))?;
            private_file::replace_public(&cert_file, certificate.pem().as_bytes()).map_err(|e| io(&cert_file, e))?;
            Ok(key)
        }
    }
}

/// The CA's name and constraints: the issuer of each leaf is built from them again, so they must not vary.
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
