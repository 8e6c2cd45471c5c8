//! `sub`: the contact of the application server, for the operator of the push service (RFC 8292 s2.1). Optional in the
//! standard, but Mozilla and Apple reject tokens without a real one.

use thiserror::Error;
use url::Url;

/// The longest subject, in bytes: the token is part of every message (RFC 8292 s2.2).
pub const SUBJECT_MAX: usize = 256;

/// A `mailto:` or `https:` URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    uri: String,
    is_corrected: bool,
}

/// Why a text is not a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// Another scheme, or none.
    #[error("the subject is not a mailto: or https: URI")]
    Scheme,
    /// A `mailto:` without an address, or with more than one.
    #[error("the subject is not one e-mail address, as in mailto:you@your.domain")]
    Address,
    /// Longer than [`SUBJECT_MAX`].
    #[error("the subject is longer than {SUBJECT_MAX} bytes")]
    TooLong,
}

const MAILTO: &str = "mailto:";

/// Hosts that reach no person (RFC 2606, RFC 6761), with everything below them.
const PLACEHOLDERS: [&str; 9] =
    ["localhost", "example", "example.com", "example.net", "example.org", "test", "invalid", "local", "localdomain"];

impl Subject {
    /// Reads a subject; an e-mail address without `mailto:` gets the prefix. What some tools make of an address, and
    /// Apple rejects, is corrected: `mailto:mailto:`, `mailto://`, and the form of mail programs, `Name <address>`.
    ///
    /// # Errors
    /// If it is neither a `mailto:` URI with an address nor an `https:` URI, or longer than [`SUBJECT_MAX`].
    pub fn parse(text: &str) -> Result<Self, SubjectError> {
        let text = text.trim();
        if text.len() > SUBJECT_MAX {
            return Err(SubjectError::TooLong);
        }
        let uri = corrected(text);
        let url = Url::parse(&uri).map_err(|_| SubjectError::Scheme)?;
        match url.scheme() {
            "https" => {}
            "mailto" if uri.contains(char::is_whitespace) || mail_domain(&url).is_none() => {
                return Err(SubjectError::Address);
            }
            "mailto" => {}
            _ => return Err(SubjectError::Scheme),
        }
        // The prefix that a bare address gets is not a correction.
        let is_corrected = uri != text && uri.strip_prefix(MAILTO) != Some(text);
        if uri.len() > SUBJECT_MAX { Err(SubjectError::TooLong) } else { Ok(Self { uri, is_corrected }) }
    }

    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// For a person, if [`Subject::parse`] read a form that Apple rejects: what is sent instead.
    pub fn correction(&self) -> Option<String> {
        self.is_corrected.then(|| format!("the subject is sent as {}: Apple rejects the form that was given", self.uri))
    }

    /// Why push services may reject it, if there is a reason.
    pub fn warning(&self) -> Option<&'static str> {
        let url = Url::parse(&self.uri).ok()?;
        let host = mail_domain(&url).or_else(|| url.host_str().map(str::to_owned))?.to_ascii_lowercase();
        let is_placeholder = PLACEHOLDERS.iter().any(|name| host == *name || host.ends_with(&format!(".{name}")));
        (is_placeholder || !host.contains('.')).then_some(
            "the subject is a placeholder or a local name, which reaches no person: Apple and Mozilla reject such tokens",
        )
    }
}

/// The URI that `text` means.
fn corrected(text: &str) -> String {
    // `Name <address>`, in which the name may follow a prefix.
    let address = text.strip_suffix('>').and_then(|text| text.rsplit_once('<')).map(|(_, address)| address);
    let mut rest = address.unwrap_or(text).trim();
    let mut is_mail = address.is_some();
    while let Some(after) = strip_scheme(rest, MAILTO) {
        (rest, is_mail) = (after.trim_start_matches('/').trim_start(), true);
    }
    while let Some(after) = strip_scheme(rest, "https://").filter(|after| strip_scheme(after, "https://").is_some()) {
        rest = after;
    }
    match strip_scheme(rest, "https:") {
        Some(after) => format!("https:{after}"),
        None if is_mail || (!rest.contains(':') && rest.contains('@')) => format!("{MAILTO}{rest}"),
        None => rest.to_owned(),
    }
}

/// What follows `scheme`, which has no case (RFC 3986 s3.1).
fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// What follows the @ of a `mailto:`.
fn mail_domain(url: &Url) -> Option<String> {
    let (name, domain) = url.path().split_once('@').filter(|_| url.scheme() == "mailto")?;
    (!name.is_empty() && !domain.is_empty() && !domain.contains([',', '@'])).then(|| domain.to_owned())
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
            ("mailto:ops@doorbell.dev, dev@doorbell.dev", SubjectError::Address),
            ("mailto:ops@doorbell.dev,dev@doorbell.dev", SubjectError::Address),
            ("mailto:mailto:", SubjectError::Address),
            ("mailto:<>", SubjectError::Address),
            ("tel:+1<2>3", SubjectError::Scheme),
        ] {
            assert_eq!(Subject::parse(bad), Err(error), "{bad}");
        }
        assert_eq!(Subject::parse(&format!("https://{}", "a".repeat(SUBJECT_MAX))), Err(SubjectError::TooLong));
    }

    #[test]
    fn what_tools_make_of_an_address_is_corrected_as_8292_2_1_1() {
        for (given, meant) in [
            ("mailto:mailto:ops@doorbell.dev", "mailto:ops@doorbell.dev"),
            ("mailto: ops@doorbell.dev", "mailto:ops@doorbell.dev"),
            ("MailTo:mailto://ops@doorbell.dev", "mailto:ops@doorbell.dev"),
            ("mailto:<ops@doorbell.dev>", "mailto:ops@doorbell.dev"),
            ("mailto:Ops <mailto:ops@doorbell.dev>", "mailto:ops@doorbell.dev"),
            ("Ops of Doorbell <ops@doorbell.dev>", "mailto:ops@doorbell.dev"),
            ("mailto:https://doorbell.dev/contact", "https://doorbell.dev/contact"),
            ("https://https://doorbell.dev", "https://doorbell.dev"),
        ] {
            let subject = Subject::parse(given).unwrap();
            assert_eq!((subject.as_str(), subject.correction().is_some()), (meant, true), "{given}");
            assert!(Subject::parse(meant).unwrap().correction().is_none(), "{meant}");
        }
        assert!(Subject::parse("ops@doorbell.dev").unwrap().correction().is_none());
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
