//! Where certificates come from by ACME, and for which domain.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use rustls::pki_types::ServerName;

use super::error::ConfigError;
use super::origin::Origin;
use super::settings::Settings;

/// Let's Encrypt.
const DEFAULT_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The settings of ACME (RFC 8555).
#[derive(Clone, Debug)]
pub struct AcmeSettings {
    /// The domain of the certificate, in ASCII and lower case.
    pub domain: String,
    /// The URL of the authority's directory.
    pub directory: String,
    /// The CA that the directory's own certificate is signed by, PEM, if it is not one of this machine's.
    pub ca: Option<PathBuf>,
    /// Where the authority reaches the operator: `mailto:` URIs.
    pub contact: Option<String>,
    /// The kind of certificate, if the authority offers several.
    pub profile: Option<String>,
    /// The account that the operator has at the authority.
    pub binding: Option<ExternalAccount>,
}

/// An account at the authority (RFC 8555 s7.3.4).
#[derive(Clone, Debug)]
pub struct ExternalAccount {
    /// Its identifier.
    pub id: String,
    /// The file of the key that proves it, in base64url as authorities print it. It is read when an account is created, also
    /// again if the authority has forgotten it.
    pub key_file: PathBuf,
}

impl ExternalAccount {
    /// The key, as bytes.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn key(&self) -> Result<Vec<u8>, String> {
        let text = std::fs::read_to_string(&self.key_file).map_err(|error| error.to_string())?;
        let digits = text.trim().trim_end_matches('=');
        let key = URL_SAFE_NO_PAD.decode(digits).or_else(|_| STANDARD_NO_PAD.decode(digits));
        key.ok().filter(|key| !key.is_empty()).ok_or_else(|| "it is not a key in base64".to_owned())
    }
}

impl AcmeSettings {
    /// The address of a public host, for both versions of IP.
    pub(super) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 443);

    /// `None` without a domain.
    pub(super) fn from_settings(s: &Settings) -> Result<Option<Self>, ConfigError> {
        let unfit = |text: &str| Err(ConfigError::Unfit(text.into()));
        let Some(domain) = &s.domain else {
            return match [
                ("acme_directory", s.acme_directory.is_some()),
                ("acme_ca", s.acme_ca.is_some()),
                ("acme_contact", s.acme_contact.is_some()),
                ("acme_profile", s.acme_profile.is_some()),
                ("acme_binding_id", s.acme_binding_id.is_some()),
                ("acme_binding_key_file", s.acme_binding_key_file.is_some()),
            ]
            .into_iter()
            .find(|(_, is_set)| *is_set)
            {
                Some((name, _)) => unfit(&format!("{name} needs domain: the name that the certificate is for")),
                None => Ok(None),
            };
        };
        if s.plain() || s.tls_cert.is_some() || s.tls_key.is_some() {
            return unfit(
                "domain, which obtains a certificate, excludes plain, tls_cert and tls_key: remove those, or, to keep them, \
                 give public_url instead of domain",
            );
        }
        let directory = s.acme_directory.clone().unwrap_or_else(|| DEFAULT_DIRECTORY.to_owned());
        if !directory.starts_with("https://") {
            return unfit(&format!("acme_directory `{directory}` is not an https URL"));
        }
        let contact = s.acme_contact.as_deref().map(contact).transpose()?;
        let binding = match (&s.acme_binding_id, &s.acme_binding_key_file) {
            (Some(id), Some(file)) => Some(ExternalAccount { id: id.clone(), key_file: file.clone() }),
            (None, None) => None,
            _ => {
                return unfit(
                    "acme_binding_id and acme_binding_key_file need each other: give both, as the authority has issued them, \
                     or neither",
                );
            }
        };
        Ok(Some(Self {
            domain: domain_name(domain)?,
            directory,
            ca: s.acme_ca.clone(),
            contact,
            profile: s.acme_profile.clone(),
            binding,
        }))
    }

    /// The origin of the service: an authority validates port 443, so the world reaches it there.
    pub(super) fn origin(&self) -> Origin {
        Origin::new("https", &self.domain, None)
    }
}

/// A name that a certificate can be for.
fn domain_name(domain: &str) -> Result<String, ConfigError> {
    let wrong =
        |why: &str| ConfigError::Unfit(format!("domain `{domain}` {why}; give a name only, such as push.example.org"));
    if domain.contains(['/', ':', '@', '*']) {
        return Err(wrong("is more than a name"));
    }
    let origin = Origin::parse(&format!("https://{domain}")).map_err(|_| wrong("is not a name"))?;
    let host = origin.host().trim_end_matches('.').to_owned();
    match ServerName::try_from(host.as_str()) {
        Ok(ServerName::DnsName(_)) => Ok(host),
        Ok(_) => Err(wrong("is an address")),
        Err(_) => Err(wrong("is not a name")),
    }
}

/// A `mailto:` URI.
fn contact(text: &str) -> Result<String, ConfigError> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let is_plain = address.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'?' | b'<' | b'>' | b':'));
    match address.split_once('@') {
        Some((user, host)) if is_plain && !user.is_empty() && !host.is_empty() => Ok(format!("mailto:{address}")),
        _ => Err(ConfigError::Unfit(format!("acme_contact `{text}` is not one mail address, such as ops@example.org"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme(s: Settings) -> Result<Option<AcmeSettings>, String> {
        AcmeSettings::from_settings(&s).map_err(|error| error.to_string())
    }

    fn of(domain: &str) -> Settings {
        Settings { domain: Some(domain.to_owned()), ..Settings::default() }
    }

    #[test]
    fn a_domain_is_a_name_and_nothing_else() {
        assert_eq!(acme(of("Push.Example.org.")).unwrap().unwrap().domain, "push.example.org");
        for wrong in
            ["", "192.0.2.1", "[::1]", "https://push.example.org", "push.example.org:443", "*.example.org", "a b"]
        {
            let error = acme(of(wrong)).unwrap_err();
            assert!(error.contains("such as push.example.org"), "{wrong}: {error}");
        }
    }

    #[test]
    fn settings_that_need_or_exclude_each_other_are_named() {
        let key = || Some("k".into());
        for (settings, word) in [
            (Settings { acme_contact: Some("ops@example.org".to_owned()), ..Settings::default() }, "needs domain"),
            (Settings { plain: Some(true), ..of("a.example") }, "excludes"),
            (Settings { tls_cert: key(), tls_key: key(), ..of("a.example") }, "excludes"),
            (Settings { acme_binding_id: Some("7".to_owned()), ..of("a.example") }, "need each other"),
            (Settings { acme_directory: Some("http://ca.example".to_owned()), ..of("a.example") }, "not an https URL"),
            (Settings { acme_contact: Some("mailto:a@b,c@d".to_owned()), ..of("a.example") }, "not one mail address"),
        ] {
            let error = acme(settings).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_contact_is_a_mailto_uri_and_a_binding_key_is_read_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "-_8\n").unwrap();
        let settings = Settings {
            acme_contact: Some("ops@example.org".to_owned()),
            acme_binding_id: Some("7".to_owned()),
            acme_binding_key_file: Some(file.clone()),
            ..of("a.example")
        };
        let read = acme(settings.clone()).unwrap().unwrap();
        assert_eq!(read.contact.as_deref(), Some("mailto:ops@example.org"));
        let binding = read.binding.unwrap();
        assert_eq!(binding.key().unwrap(), [0xfb, 0xff]);
        std::fs::write(&file, "no key!").unwrap();
        assert!(binding.key().unwrap_err().contains("not a key in base64"));
        std::fs::remove_file(&file).unwrap();
        assert!(acme(settings).is_ok(), "a reload does not need the file");
    }
}
