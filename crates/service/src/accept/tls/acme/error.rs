//! Why there is no new certificate, and what to do about it.

use std::borrow::Cow;
use std::error::Error as _;
use std::path::PathBuf;

use instant_acme::Problem;
use thiserror::Error;

use super::client::AnswerError;
use crate::accept::tls::TlsError;

pub(super) const WAY: &str = "look at acme_directory and at this machine's way to the Internet: it is tried again";
pub(super) const NO_DIRECTORY: &str =
    "look at acme_directory, which must be the URL of a directory of ACME: it is tried again";
pub(super) const OF_ITS_OWN: &str = "the authority has a problem of its own: it is tried again";
const ANOTHER_PROFILE: &str = "give another acme_profile, or none";

/// The longest text of a server in the log.
const SHOWN_MAX: usize = 500;

/// Why an attempt to obtain a certificate failed.
#[derive(Debug, Error)]
pub(super) enum AcmeError {
    /// The request failed, or the server rejected it.
    #[error("{}", said(.0))]
    Acme(#[from] instant_acme::Error),
    /// The server could not validate that the domain leads here.
    #[error("the certificate authority could not validate the domain: {}", of_problem(.0))]
    Invalid(Problem),
    /// The server gives no reason.
    #[error("the certificate authority rejected the order without a reason")]
    Unexplained,
    /// The server validates in no way that we can answer.
    #[error("the certificate authority offers no validation by TLS-ALPN-01")]
    NoChallenge,
    /// The directory has no such kind of certificate.
    #[error("the certificate authority has no profile `{profile}`{}", names_of(.offered))]
    Profile {
        /// What the settings want.
        profile: String,
        /// What there is.
        offered: Vec<String>,
    },
    /// An order took too long.
    #[error("the certificate authority did not answer in time")]
    TimedOut,
    /// The issued certificate cannot be used.
    #[error("the certificate cannot be used: {why}")]
    Certificate {
        /// What is wrong with it.
        why: String,
    },
    /// Key or request could not be made.
    #[error("cannot make the certificate request: {0}")]
    Request(#[from] rcgen::Error),
    /// The account's file is damaged.
    #[error("cannot read the account in {}: {why}", path.display())]
    Account {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The CA of the directory cannot be read.
    #[error("cannot read acme_ca, {}: {why}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The CAs of the system cannot be read.
    #[error("cannot read the CAs of this system: {0}")]
    SystemCas(std::io::Error),
    /// A file in the state directory cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The certificate and its key do not work.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl AcmeError {
    /// An error at the moment of a validation, which some authorities end before they answer.
    pub(super) fn of_validation(error: instant_acme::Error) -> Self {
        const FAILED: [&str; 8] = [
            "caa",
            "connection",
            "dns",
            "incorrectResponse",
            "rejectedIdentifier",
            "tls",
            "unauthorized",
            "unknownHost",
        ];
        match Self::Acme(error) {
            Self::Acme(instant_acme::Error::Api(problem))
                if kind_of(&problem).is_some_and(|kind| FAILED.contains(&kind)) =>
            {
                Self::Invalid(problem)
            }
            other => other,
        }
    }

    /// What the operator can do; `instance` is the place where a person can solve it.
    pub(super) fn advice(&self, instance: Option<&str>) -> Cow<'static, str> {
        match (self.kind(), instance) {
            (Some("userActionRequired"), Some(instance)) => Cow::Owned(format!(
                "the authority asks for your agreement to new terms of service: open {}, and it is tried again",
                printable(instance)
            )),
            _ => Cow::Borrowed(self.usual_advice()),
        }
    }

    fn usual_advice(&self) -> &'static str {
        match self.kind() {
            Some("unauthorized") if self.is_refused_account() => {
                "the authority does not accept the account, which may be deactivated: remove acme/account.json in the state \
                 directory, and send SIGHUP or wait: then another account is created"
            }
            Some("dns" | "unknownHost") => {
                "create an A or AAAA record of the domain that has the address of this machine"
            }
            Some("connection" | "tls" | "unauthorized" | "incorrectResponse") => {
                "the authority connects to port 443 of the domain, which must lead to this process: look at its DNS records, at \
                 firewalls, and at proxies that end TLS"
            }
            Some("caa") => "a CAA record of the domain permits other authorities only",
            Some("rateLimited") => "the authority limits how many certificates it signs: it is tried again",
            Some("externalAccountRequired") => {
                "this authority wants acme_binding_id and acme_binding_key_file, which it gives you"
            }
            Some("rejectedIdentifier" | "unsupportedIdentifier") => {
                "the authority signs nothing for this domain: look at its spelling, or choose another acme_directory"
            }
            Some("invalidContact" | "unsupportedContact") => "give another acme_contact",
            Some("invalidProfile") => ANOTHER_PROFILE,
            Some("userActionRequired") => {
                "the authority asks for your agreement to new terms of service: look at its site, and it is tried again"
            }
            Some("serverInternal") => OF_ITS_OWN,
            Some("accountDoesNotExist") => {
                "the authority no longer knows the account: the next attempt creates another one"
            }
            Some(_) => "the error has the authority's reason: it is tried again",
            None => self.advice_without_problem(),
        }
    }

    fn advice_without_problem(&self) -> &'static str {
        match self {
            Self::Acme(error) if is_untrusted(error) => {
                "the certificate of acme_directory is not trusted: give its CA as acme_ca, or look at this machine's CAs and clock"
            }
            Self::Acme(instant_acme::Error::Json(_)) => NO_DIRECTORY,
            Self::Acme(instant_acme::Error::Other(error)) => error.downcast_ref().map_or(WAY, AnswerError::advice),
            Self::Acme(_) | Self::TimedOut => WAY,
            Self::Profile { .. } => ANOTHER_PROFILE,
            Self::SystemCas(_) => {
                "install this system's CAs (ca-certificates), or give the CA of the directory as acme_ca"
            }
            Self::Invalid(_) | Self::Unexplained => "look at the domain's DNS records: it is tried again",
            Self::NoChallenge => "choose another acme_directory, or give tls_cert and tls_key",
            Self::Certificate { .. } | Self::Request(_) | Self::Tls(_) => "it is tried again",
            Self::Account { .. } => "remove the file: then another account is created",
            Self::Ca { .. } => "give a file with the certificate of a CA in PEM",
            Self::File { .. } => "look at the permissions of the state directory and at the space on its disk",
        }
    }

    /// Whether the authority counts requests, so that a wait that it asks for may be long.
    pub(super) fn is_rate(&self) -> bool {
        self.kind() == Some("rateLimited")
    }

    /// Whether the authority may count it: it tried to validate the domain, issued a certificate that cannot be used, or
    /// limits a rate.
    pub(super) fn counts(&self) -> bool {
        let has_issued = matches!(self, Self::Certificate { .. } | Self::Tls(_));
        has_issued || matches!(self, Self::Invalid(_) | Self::Unexplained | Self::TimedOut) || self.is_rate()
    }

    /// Whether the reason may be the certificate that an order replaces: not where nothing was answered, and not where
    /// another order would be counted too.
    pub(super) fn may_be_of_replacement(&self) -> bool {
        match self {
            Self::Acme(instant_acme::Error::Api(_)) => !self.is_rate(),
            Self::Acme(instant_acme::Error::Other(error)) => {
                !error.is::<AnswerError>() && !error.is::<hyper_util::client::legacy::Error>()
            }
            Self::Acme(instant_acme::Error::Unsupported(_)) => true,
            _ => false,
        }
    }

    pub(super) fn is_bad_nonce(&self) -> bool {
        self.kind() == Some("badNonce")
    }

    pub(super) fn is_unknown_account(&self) -> bool {
        self.kind() == Some("accountDoesNotExist")
    }

    /// Whether the authority refuses the account itself (RFC 8555 s7.3.6).
    pub(super) fn is_refused_account(&self) -> bool {
        matches!(self, Self::Acme(_)) && self.kind() == Some("unauthorized")
    }

    /// The type of the server's problem (RFC 8555 s6.7), without the prefix.
    fn kind(&self) -> Option<&str> {
        let problem = match self {
            Self::Acme(instant_acme::Error::Api(problem)) | Self::Invalid(problem) => problem,
            _ => return None,
        };
        kind_of(problem)
    }
}

fn kind_of(problem: &Problem) -> Option<&str> {
    problem.r#type.as_deref()?.strip_prefix("urn:ietf:params:acme:error:")
}

/// The reason of the library, with its causes: it names only "HTTP request failure".
fn said(error: &instant_acme::Error) -> String {
    if let instant_acme::Error::Api(problem) = error {
        return of_problem(problem);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

fn of_problem(problem: &Problem) -> String {
    printable(&problem.to_string())
}

/// The profiles that there are, for the sentence about one that is not.
fn names_of(profiles: &[String]) -> String {
    if profiles.is_empty() {
        ", and no other one".to_owned()
    } else {
        format!(": it has {}", printable(&profiles.join(", ")))
    }
}

/// What a server wrote, without control characters, which could change how a terminal shows the log.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

fn is_untrusted(error: &instant_acme::Error) -> bool {
    said(error).contains("invalid peer certificate")
}
