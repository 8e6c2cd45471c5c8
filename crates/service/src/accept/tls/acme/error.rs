//! Why there is no new certificate, and what to do about it.

use std::error::Error as _;
use std::path::PathBuf;

use instant_acme::Problem;
use thiserror::Error;

use crate::accept::tls::TlsError;

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
    /// What the operator can do.
    pub(super) fn advice(&self) -> &'static str {
        match self.kind() {
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
            Some("invalidProfile") => "give another acme_profile, or none",
            Some("userActionRequired") => "the authority asks for your agreement to new terms of service",
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
            Self::Acme(_) | Self::TimedOut => {
                "look at acme_directory and at this machine's way to the Internet: it is tried again"
            }
            Self::Invalid(_) | Self::Unexplained => "look at the domain's DNS records: it is tried again",
            Self::NoChallenge => "choose another acme_directory, or give tls_cert and tls_key",
            Self::Certificate { .. } | Self::Request(_) | Self::Tls(_) => "it is tried again",
            Self::Account { .. } => "remove the file: then another account is created",
            Self::Ca { .. } => "give a file with the certificate of a CA in PEM",
            Self::File { .. } => "look at the permissions of the state directory and at the space on its disk",
        }
    }

    /// Whether the authority may count it: it tried to validate the domain, or limits a rate.
    pub(super) fn counts(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::Unexplained | Self::TimedOut) || self.kind() == Some("rateLimited")
    }

    pub(super) fn is_bad_nonce(&self) -> bool {
        self.kind() == Some("badNonce")
    }

    pub(super) fn is_unknown_account(&self) -> bool {
        self.kind() == Some("accountDoesNotExist")
    }

    /// The type of the server's problem (RFC 8555 s6.7), without the prefix.
    fn kind(&self) -> Option<&str> {
        let problem = match self {
            Self::Acme(instant_acme::Error::Api(problem)) | Self::Invalid(problem) => problem,
            _ => return None,
        };
        problem.r#type.as_deref()?.strip_prefix("urn:ietf:params:acme:error:")
    }
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

/// What the server wrote, without control characters, which could change how a terminal shows the log.
fn of_problem(problem: &Problem) -> String {
    const SHOWN_MAX: usize = 500;
    problem.to_string().chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

fn is_untrusted(error: &instant_acme::Error) -> bool {
    said(error).contains("invalid peer certificate")
}
