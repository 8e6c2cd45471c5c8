//! What policies can say, for many machines: trust and permission. The push service itself they cannot name.

use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::origin::Origin;

/// The text of a file for /etc/chromium/policies/managed. The certificates stand in it whole: no other file is needed.
pub(super) fn json(sites: &[Origin], ca: Option<&Path>) -> Result<String> {
    let mut policies = json!({});
    if !sites.is_empty() {
        policies["NotificationsAllowedForUrls"] = sites.iter().map(Origin::url).collect();
    }
    if let Some(file) = ca {
        let cannot = || format!("cannot read the CA file {}", file.display());
        let pem = std::fs::read(file).with_context(cannot)?;
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            certificates.push(Value::from(STANDARD.encode(certificate.with_context(cannot)?)));
        }
        policies["CACertificates"] = certificates.into();
    }
    Ok(format!("{policies:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(sites: &[&str], ca: Option<&Path>) -> Value {
        let sites: Vec<Origin> = sites.iter().map(|site| site.parse().unwrap()).collect();
        serde_json::from_str(&json(&sites, ca).unwrap()).unwrap()
    }

    #[test]
    fn policies_allow_sites_and_carry_the_ca() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n").unwrap();
        assert_eq!(
            policies(&["https://app.example.org"], Some(file.path())),
            json!({ "NotificationsAllowedForUrls": ["https://app.example.org:443"], "CACertificates": ["YWJj"] })
        );
    }

    #[test]
    fn what_nobody_asked_for_is_not_decided() {
        assert_eq!(policies(&[], None), json!({}));
    }
}
