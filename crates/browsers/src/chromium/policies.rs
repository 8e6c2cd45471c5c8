//! What policies can set on many machines: trust and permissions. They cannot name the push service itself.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::origin::Origin;
use crate::error::BrowserError;
use crate::pem::Authorities;

/// The text of a file for /etc/chromium/policies/managed: `sites` may show notifications, and the authorities in the
/// file `ca` are trusted. The certificates are in the text: no other file is needed.
pub fn policies(sites: &[Origin], ca: Option<&Path>) -> Result<String, BrowserError> {
    let mut policies = json!({});
    if !sites.is_empty() {
        policies["NotificationsAllowedForUrls"] = sites.iter().map(Origin::url).collect();
    }
    if let Some(file) = ca {
        let certificates = Authorities::read(file)?.certificates;
        policies["CACertificates"] = certificates.iter().map(|der| Value::from(STANDARD.encode(der))).collect();
    }
    Ok(format!("{policies:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sites: &[&str], ca: Option<&Path>) -> Value {
        let sites: Vec<Origin> = sites.iter().map(|site| site.parse().unwrap()).collect();
        serde_json::from_str(&policies(&sites, ca).unwrap()).unwrap()
    }

    #[test]
    fn policies_allow_sites_and_carry_the_ca() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n").unwrap();
        assert_eq!(
            parsed(&["https://app.example.org"], Some(file.path())),
            json!({ "NotificationsAllowedForUrls": ["https://app.example.org:443"], "CACertificates": ["YWJj"] })
        );
    }

    #[test]
    fn without_sites_and_without_a_ca_nothing_is_decided() {
        assert_eq!(parsed(&[], None), json!({}));
    }
}
