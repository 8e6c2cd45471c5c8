//! Certificates of our own: a CA that is created at the first start and kept in the state directory, and a certificate
//! that it signs at each start and before that one ends. No client trusts the CA by default; one that does trusts it for
//! the names of this service only (RFC 5280 s4.2.1.10).

mod authority;
mod names;
mod validity;

use std::path::{Path, PathBuf};

use doorbell_protocol::time::UnixMs;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tracing::{error, warn};

use super::{Identity, TlsError};

use authority::{Authority, failed};
pub(super) use validity::{Validity, plausible};

pub(crate) use names::Name;

/// The file of the CA's key.
pub(crate) fn key_file(state_dir: &Path) -> PathBuf {
    state_dir.join("ca.key")
}

/// The file of the CA's certificate, for clients to trust.
pub(crate) fn ca_file(state_dir: &Path) -> PathBuf {
    state_dir.join("ca.pem")
}

/// Makes certificates for this machine and for the names of the configuration.
pub(crate) struct SelfSigned {
    state_dir: PathBuf,
    configured: Vec<Name>,
    /// Of the newest certificate.
    valid: Option<Validity>,
}

impl SelfSigned {
    /// With the CA of `state_dir`, or a new one; the caller holds the lock of the directory. `replaces_ca` moves an
    /// existing CA aside.
    pub(crate) fn open(state_dir: &Path, configured: Vec<Name>, replaces_ca: bool) -> Result<Self, TlsError> {
        if replaces_ca {
            authority::retire(state_dir)?;
        }
        Ok(Self { state_dir: state_dir.to_owned(), configured, valid: None })
    }

    /// A new certificate, if there is none yet or the newest one has to be replaced at this wall time.
    pub(crate) fn renew(&mut self, now: UnixMs) -> Result<Option<Identity>, TlsError> {
        let (is_first, now) = (self.valid.is_none(), plausible(now));
        if self.valid.is_some_and(|valid| !valid.is_due(now)) {
            return Ok(None);
        }
        let authority = Authority::open(&self.state_dir, &self.configured, now)?;
        let (names, refused): (Vec<_>, Vec<_>) =
            names::with_own(&self.configured).into_iter().partition(|name| authority.permits(name));
        if is_first {
            warn_about(&authority, &refused, &ca_file(&self.state_dir));
        }
        let valid = Validity::of_leaf(now, authority.valid);
        let identity = sign(&authority, &names, valid)?;
        self.valid = Some(valid);
        Ok(Some(identity))
    }
}

fn warn_about(authority: &Authority, refused: &[Name], ca_file: &Path) {
    let file = ca_file.display();
    if authority.is_unconstrained() {
        warn!(
            %file,
            "this self-signed CA was made by an earlier version and may sign for every web site: replace it by one that \
             may sign for this service only with `doorbell serve --new-ca`, and let clients trust the new one and forget \
             the old one"
        );
    }
    if !refused.is_empty() {
        error!(
            %file, ?refused,
            "this self-signed CA was made for other names, and clients refuse it for these: replace it once with \
             `doorbell serve --new-ca`, and let clients trust the new one"
        );
    }
}

fn sign(authority: &Authority, names: &[Name], valid: Validity) -> Result<Identity, TlsError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(Name::for_certificate).collect::<Result<_, _>>().map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Doorbell");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (valid.not_before, valid.not_after);
    let key = KeyPair::generate().map_err(failed)?;
    let leaf = params.signed_by(&key, &authority.issuer).map_err(failed)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| TlsError::SelfSigned(error.to_owned()))?;
    Ok(Identity { chain: vec![leaf.der().clone()], key })
}

#[cfg(test)]
mod tests;
