//! The CA: a key and a certificate in the state directory.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use doorbell_private_file as private_file;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use tracing::{info, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::names::{self, Name, Permitted};
use super::validity::{CA_VALID, LEAF_VALID, RELEASED, Validity};
use super::{ca_file, key_file};
use crate::accept::tls::TlsError;

/// The longest common name of a certificate (RFC 5280, ub-common-name).
const COMMON_NAME_MAX: usize = 64;
/// 127 bits: a serial number is positive, and two certificates of one issuer never share it.
const SERIAL_BYTES: usize = 16;

/// The CA, ready to sign.
pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) valid: Validity,
    /// None: it may sign for every name.
    pub(super) permitted: Option<Permitted>,
}

impl Authority {
    /// The CA of an earlier start, or a new one that may sign for `configured` names and for this machine's own.
    ///
    /// A key is never replaced. A certificate that is lost, or that no client accepts at this time, is made again for
    /// the same key: clients that trust the old certificate accept what the key signs.
    pub(super) fn open(state_dir: &Path, configured: &[Name], now: OffsetDateTime) -> Result<Self, TlsError> {
        let (key_file, cert_file) = (key_file(state_dir), ca_file(state_dir));
        let key = match fs::read_to_string(&key_file) {
            Ok(pem) => KeyPair::from_pem(&pem).map_err(failed)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // An old certificate belongs to another key.
                if set_aside(&cert_file).map_err(io(&cert_file))?.is_some() {
                    warn!("the key of the self-signed CA was missing: clients must trust the new ca.pem");
                }
                let key = KeyPair::generate().map_err(failed)?;
                private_file::replace(&key_file, key.serialize_pem().as_bytes()).map_err(io(&key_file))?;
                key
            }
            Err(error) => return Err(io(&key_file)(error)),
        };
        let certificate = match fs::read(&cert_file) {
            Ok(pem) => match reason_to_renew(&pem, &key, now) {
                None => {
                    CertificateDer::from_pem_slice(&pem).map_err(|error| TlsError::SelfSigned(error.to_string()))?
                }
                Some(reason) => {
                    let old = keep_copy(&cert_file, &pem).map_err(io(&cert_file))?;
                    warn!(
                        old = %old.display(),
                        "ca.pem {reason}: it was made again for the same key; clients that refuse this service must \
                         trust the new ca.pem"
                    );
                    let subject = match subject_of(&pem, &key) {
                        None => subject_of_kept(&cert_file, &key).map_err(io(&cert_file))?,
                        known => known,
                    };
                    create(&cert_file, &key, configured, subject, now)?
                }
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let subject = subject_of_kept(&cert_file, &key).map_err(io(&cert_file))?;
                create(&cert_file, &key, configured, subject, now)?
            }
            Err(error) => return Err(io(&cert_file)(error)),
        };
        Self::read(&certificate, key)
    }

    fn read(certificate: &CertificateDer<'_>, key: KeyPair) -> Result<Self, TlsError> {
        let unreadable = |error: &dyn std::fmt::Display| TlsError::SelfSigned(format!("ca.pem: {error}"));
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| unreadable(&error))?;
        let constraints = parsed.name_constraints().map_err(|error| unreadable(&error))?;
        let permitted = constraints.map(|extension| Permitted::read(extension.value));
        let valid = Validity::of(&parsed);
        let issuer = Issuer::from_ca_cert_der(certificate, key).map_err(failed)?;
        Ok(Self { issuer, valid, permitted })
    }

    /// Whether a user who trusts it trusts it for every site.
    pub(super) fn is_unconstrained(&self) -> bool {
        self.permitted.as_ref().is_none_or(Permitted::is_everything)
    }

    /// Whether it may sign a certificate for `name`.
    pub(super) fn permits(&self, name: &Name) -> bool {
        self.permitted.as_ref().is_none_or(|permitted| permitted.has(name))
    }
}

/// Moves key and certificate aside, so that the next [`Authority::open`] creates new ones.
pub(super) fn retire(state_dir: &Path) -> Result<(), TlsError> {
    // The certificate first: a key without a certificate is still the CA that it was.
    for file in [ca_file(state_dir), key_file(state_dir)] {
        if let Some(kept) = set_aside(&file).map_err(io(&file))? {
            info!(kept = %kept.display(), "the old self-signed CA is kept");
        }
    }
    Ok(())
}

/// Why the certificate in `pem` cannot be used, if it cannot.
fn reason_to_renew(pem: &[u8], key: &KeyPair, now: OffsetDateTime) -> Option<&'static str> {
    let Ok(certificate) = CertificateDer::from_pem_slice(pem) else { return Some("cannot be read") };
    let Ok((_, parsed)) = X509Certificate::from_der(&certificate) else { return Some("cannot be read") };
    let valid = Validity::of(&parsed);
    if parsed.public_key().raw != key.subject_public_key_info() {
        Some("belongs to another key than ca.key")
    } else if now < valid.not_before {
        Some("is not valid yet: it was made while a clock was wrong, or the clock is wrong now")
    } else if valid.not_after - now < LEAF_VALID {
        Some("ends too soon, or was made while a clock was wrong")
    } else {
        None
    }
}

/// The issuer that the certificates of an earlier CA with this key name.
fn subject_of(pem: &[u8], key: &KeyPair) -> Option<rcgen::DistinguishedName> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return None;
    }
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    let mut subject = rcgen::DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    Some(subject)
}

/// The same of the newest kept certificate with this key.
fn subject_of_kept(file: &Path, key: &KeyPair) -> io::Result<Option<rcgen::DistinguishedName>> {
    let name = file.file_name().expect("the certificate has a name").to_string_lossy();
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder_of(file))? {
        let other = entry?.file_name();
        let number =
            other.to_str().and_then(|other| other.strip_prefix(&*name)?.strip_prefix('.')?.parse::<u32>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    // One that cannot be read shows no name.
    let subject = |number| subject_of(&fs::read(kept_name(file, number)).ok()?, key);
    Ok(numbers.into_iter().rev().find_map(subject))
}

fn create(
    file: &Path,
    key: &KeyPair,
    configured: &[Name],
    subject: Option<rcgen::DistinguishedName>,
    now: OffsetDateTime,
) -> Result<CertificateDer<'static>, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject.unwrap_or_else(|| own_subject(configured));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(names::constraints(configured));
    params.serial_number = Some(serial()?);
    // From a day that every right clock has passed: a CA that is made while the clock is ahead is valid after that too.
    (params.not_before, params.not_after) = (RELEASED, now + CA_VALID);
    let certificate = params.self_signed(key).map_err(failed)?;
    private_file::replace_public(file, certificate.pem().as_bytes()).map_err(io(file))?;
    Ok(certificate.der().clone())
}

/// A name by which a person finds it in the list of a browser.
fn own_subject(configured: &[Name]) -> rcgen::DistinguishedName {
    let host = configured.first().map(|name| match name {
        Name::Dns(name) => name.clone(),
        Name::Ip(address) => address.to_string(),
    });
    let full = host.map(|host| format!("Doorbell self-signed CA of {host}"));
    let name =
        full.filter(|name| name.len() <= COMMON_NAME_MAX).unwrap_or_else(|| "Doorbell self-signed CA".to_owned());
    let mut subject = rcgen::DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn serial() -> Result<SerialNumber, TlsError> {
    let mut bytes = [0; SERIAL_BYTES];
    let no_random = |_| TlsError::SelfSigned("the system gives no random numbers".to_owned());
    aws_lc_rs::rand::fill(&mut bytes).map_err(no_random)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Renames a file to the first free one of `NAME.1`, `NAME.2`, and so on: the new name, if the file was there. The
/// caller holds the lock of the state directory.
fn set_aside(file: &Path) -> io::Result<Option<PathBuf>> {
    if !file.try_exists()? {
        return Ok(None);
    }
    for number in 1_u32.. {
        let kept = kept_name(file, number);
        if !kept.try_exists()? {
            fs::rename(file, &kept)?;
            File::open(folder_of(file))?.sync_all()?;
            return Ok(Some(kept));
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Copies a certificate to such a name. `file` stays, so that there is a certificate until the next one takes its place:
/// after a crash, and on a full disk. The copy of an attempt that failed later is not made again.
fn keep_copy(file: &Path, pem: &[u8]) -> io::Result<PathBuf> {
    for number in 1_u32.. {
        let kept = kept_name(file, number);
        if !kept.try_exists()? {
            private_file::remove_leftovers(&kept)?;
            private_file::replace_public(&kept, pem)?;
            return Ok(kept);
        }
        if fs::read(&kept).is_ok_and(|earlier| earlier == pem) {
            return Ok(kept);
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

fn kept_name(file: &Path, number: u32) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn folder_of(file: &Path) -> &Path {
    file.parent().expect("a file of the state directory has a parent")
}

pub(super) fn failed(error: rcgen::Error) -> TlsError {
    TlsError::SelfSigned(error.to_string())
}

fn io(path: &Path) -> impl Fn(io::Error) -> TlsError {
    move |error| TlsError::SelfSigned(format!("{}: {error}", path.display()))
}
