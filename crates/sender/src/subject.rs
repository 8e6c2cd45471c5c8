//! `sub`: the contact of the application server, for the operator of the push service (RFC 8292 s2.1). Optional in the
//! standard, but Mozilla and Apple reject tokens without a real one.

use thiserror::Error;
use url::Url;

/// The longest subject, in bytes: the token is part of every message (RFC 8292 s2.2).
pub const SUBJECT_MAX: usize = 256;

/// A `mailto:` or `https:` URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(String);

/// Why a text is not a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// Another scheme, or none.
    #[error("the subject is not a mailto: or https: URI")]
    Scheme,
    /// A `mailto:` without an address.
    #[error("the subject has no e-mail address")]
    Address,
    /// Longer than [`SUBJECT_MAX`].
    #[error("the subject is longer than {SUBJECT_MAX} bytes")]
    TooLong,
}

/// Hosts that reach no person (RFC 2606, RFC 6761), with everything below them.
const PLACEHOLDERS: [&str; 9] =
    ["localhost", "example", "example.com", "example.net", "example.org", "test", "invalid", "local", "localdomain"];

impl Subject {
    /// Reads a subject; an e-mail address without `mailto:` gets the prefix.
    ///
    /// # Errors
    /// If it is neither a `mailto:` URI with an address nor an `https:` URI, or longer than [`SUBJECT_MAX`].
    pub fn parse(text: &str) -> Result<Self, SubjectError> {
        let text = text.trim();
        if text.len() > SUBJECT_MAX {
            return Err(SubjectError::TooLong);
        }
        if !text.contains(':') && text.contains('@') {
            return Self::parse(&format!("mailto:{text}"));
        }
        let url = Url::parse(text).map_err(|_| SubjectError::Scheme)?;
        match url.scheme() {
            "https" => Ok(Self(text.to_owned())),
            // Apple rejects a space after the colon.
            "mailto" if text.contains(char::is_whitespace) => Err(SubjectError::Address),
            "mailto" if mail_domain(&url).is_some() => Ok(Self(text.to_owned())),
            "mailto" => Err(SubjectError::Address),
            _ => Err(SubjectError::Scheme),
        }
    }

    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Why push services may reject it, if there is a reason.
    pub fn warning(&self) -> Option<&'static str> {
        let url = Url::parse(&self.0).ok()?;
        let host = mail_domain(&url).or_else(|| url.host_str().map(str::to_owned))?.to_ascii_lowercase();
        let is_placeholder = PLACEHOLDERS.iter().any(|name| host == *name || host.ends_with(&format!(".{name}")));
        (is_placeholder || !host.contains('.')).then_some(
            "the subject is a placeholder or a local name, which reaches no person: Apple and Mozilla reject such tokens",
        )
    }
}

/// What follows the @ of a `mailto:`.
fn mail_domain(url: &Url) -> Option<String> {
    let (name, domain) = url.path().split_once('@').filter(|_| url.scheme() == "mailto")?;
    (!name.is_empty() && !domain.is_empty()).then(|| domain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mailto_and_https_are_subjects_as_8292_2_1_1() {
        for good in ["mailto:ops@doorbell.dev", "https://doorbell.dev/contact"] {
            let subject = Subject::parse(good).unwrap();
            assert_eq!((subject.as_str(), subject.warning()), (good, None));
        }
        assert_eq!(Subject::parse("ops@doorbell.dev").unwrap().as_str(), "mailto:ops@doorbell.dev");
        for (bad, error) in [
            ("", SubjectError::Scheme),
            ("http://doorbell.dev", SubjectError::Scheme),
            ("doorbell.dev", SubjectError::Scheme),
            ("mailto:", SubjectError::Address),
            ("mailto:ops", SubjectError::Address),
            ("mailto:@doorbell.dev", SubjectError::Address),
            ("mailto: ops@doorbell.dev", SubjectError::Address),
        ] {
            assert_eq!(Subject::parse(bad), Err(error), "{bad}");
        }
        assert_eq!(Subject::parse(&format!("https://{}", "a".repeat(SUBJECT_MAX))), Err(SubjectError::TooLong));
    }

    #[test]
    fn placeholders_are_warned_about_as_8292_2_1_1() {
        for placeholder in [
            "mailto:admin@localhost",
            "mailto:you@example.com",
            "mailto:you@mail.EXAMPLE.org",
            "https://localhost:3000",
            "https://app.test/",
            "https://intranet/",
        ] {
            assert!(Subject::parse(placeholder).unwrap().warning().is_some(), "{placeholder}");
        }
        assert_eq!(Subject::parse("mailto:you@notexample.com").unwrap().warning(), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r"(mailto:|https://)?\PC{0,40}") {
            if let Ok(subject) = Subject::parse(&text) {
                let _ = subject.warning();
            }
        }
    }
}
