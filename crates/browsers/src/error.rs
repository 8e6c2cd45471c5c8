//! What can go wrong with a browser, sorted by whose fault it is.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use thiserror::Error;

/// For a Chromium that has no sandbox: for root, or where the system allows none.
const NO_SANDBOX: &str = "start it as another user than root, on a system that lets Chromium have its sandbox; the switch \
    --no-sandbox lets a page that breaks out do all that this user can, and doorbell never adds it: if you want it, start \
    `doorbell chromium … -- --no-sandbox PAGE` yourself";

/// Why a browser was not prepared or not started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrowserError {
    /// The caller named a push service that no browser, or not this browser, can use.
    #[error("{url}: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The caller named a file of certificate authorities that cannot be used.
    #[error("the CA file {} cannot be used: {reason}", file.display())]
    CaFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The caller named a folder that holds something else than a profile of ours.
    #[error("{} holds something that is not a profile of doorbell's", .0.display())]
    ForeignProfile(PathBuf),
    /// A browser already runs with the profile.
    #[error("a {browser} (process {process}) already runs with the profile {}: close it first", folder.display())]
    ProfileInUse {
        /// The browser.
        browser: &'static str,
        /// Its process.
        process: u32,
        /// The profile.
        folder: PathBuf,
    },
    /// The profile has subscriptions at another push service.
    #[error("the profile {} has its subscriptions at {service}", folder.display())]
    OtherService {
        /// The profile.
        folder: PathBuf,
        /// The origin of that service.
        service: String,
    },

    /// The push service does not answer.
    #[error("{url} does not answer: {why}")]
    Unreachable {
        /// Its address.
        url: String,
        /// What the system reported.
        why: io::Error,
    },
    /// The certificate of the push service is not signed by the given authority.
    #[error("{url} does not prove itself by the CA in {}: {why}", ca.display())]
    Untrusted {
        /// Its address.
        url: String,
        /// The file of the authority.
        ca: PathBuf,
        /// What the handshake failed with.
        why: io::Error,
    },

    /// No such browser is installed.
    #[error("no {browser} is on the PATH: {install}")]
    NotInstalled {
        /// The browser.
        browser: &'static str,
        /// How to install it.
        install: &'static str,
    },
    /// The named program does not exist.
    #[error("{}: there is no such file", .0.display())]
    NoSuchProgram(PathBuf),
    /// The program does not start.
    #[error("cannot start {}: {why}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system reported.
        why: io::Error,
    },
    /// The browser ended before it was prepared.
    #[error(
        "{browser} ended at once ({status}): close it if it already runs with the profile {}, and if it is one that may \
         not read that folder (from snap or flatpak), use another folder",
        folder.display()
    )]
    EndedAtOnce {
        /// The browser.
        browser: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The profile.
        folder: PathBuf,
    },
    /// The browser ended instead of opening a window.
    #[error("{browser} ended at once ({status}): {lines}")]
    Ended {
        /// The browser.
        browser: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it wrote.
        lines: String,
    },
    /// The browser does not do what it was asked to do while it was prepared.
    #[error("{0}")]
    Driver(String),

    /// A file of the profile is not as the browser writes it.
    #[error("{} is not as the browser writes it: {reason}", file.display())]
    ProfileFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {why}", path.display())]
    Io {
        /// `read`, `write`, `create` or `delete`.
        action: &'static str,
        /// The file or the folder.
        path: PathBuf,
        /// What the system reported.
        why: io::Error,
    },
}

impl BrowserError {
    /// What the user reads: the error, and the flag that helps.
    pub fn explained(&self) -> String {
        let hint = match self {
            Self::NotInstalled { .. } => "or name its program with --binary",
            Self::NoSuchProgram(_) => "name another --binary",
            Self::ForeignProfile(_) => "name another --profile",
            Self::ProfileInUse { .. } | Self::EndedAtOnce { .. } => "or name another --profile",
            Self::OtherService { .. } => "name another --profile, or begin it anew with --fresh",
            Self::Untrusted { why, .. } => distrust_hint(why),
            Self::Ended { lines, .. } if lines.contains("no-sandbox") => NO_SANDBOX,
            Self::Ended { lines, .. } if lines.contains("DISPLAY") => "start it on a desktop, where DISPLAY is set",
            _ => return self.to_string(),
        };
        format!("{self}; {hint}")
    }

    /// For `map_err`: `action` on `path` failed.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |why| Self::Io { action, path, why }
    }

    /// For `map_err`: `file` is not as the browser writes it.
    pub(crate) fn file<E: ToString>(file: &Path) -> impl FnOnce(E) -> Self {
        let file = file.to_owned();
        move |reason| Self::ProfileFile { file, reason: reason.to_string() }
    }
}

/// What helps after a handshake that failed with `why`.
fn distrust_hint(why: &io::Error) -> &'static str {
    use rustls::CertificateError as E;
    match why.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(E::Expired | E::ExpiredContext { .. })) => {
            "renew the certificate; if it is still good, set this machine's clock"
        }
        Some(rustls::Error::InvalidCertificate(E::NotValidYet | E::NotValidYetContext { .. })) => {
            "set this machine's clock, or that of the machine that made the certificate"
        }
        Some(rustls::Error::InvalidCertificate(E::NotValidForName | E::NotValidForNameContext { .. })) => {
            "use a name that the certificate has, or get one for this name"
        }
        Some(rustls::Error::InvalidMessage(_)) => "the server there has no TLS: is it another one, or `serve --plain`?",
        _ => "name the right file with --ca (`doorbell serve` prints its own)",
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn an_error_names_the_flag_that_helps() {
        let folder = PathBuf::from("/profile");
        for (error, flag) in [
            (BrowserError::NotInstalled { browser: "Firefox", install: "install it" }, "--binary"),
            (BrowserError::ForeignProfile(folder.clone()), "--profile"),
            (BrowserError::ProfileInUse { browser: "Firefox", process: 1, folder: folder.clone() }, "--profile"),
            (BrowserError::OtherService { folder, service: "https://one.example".to_owned() }, "--fresh"),
        ] {
            let text = error.explained();
            assert!(text.contains(flag), "{text}");
        }
    }

    #[test]
    fn the_hint_about_a_certificate_is_for_what_is_wrong_with_it() {
        let explained = |why: CertificateError| {
            let why = io::Error::other(rustls::Error::InvalidCertificate(why));
            BrowserError::Untrusted { url: "https://h".to_owned(), ca: PathBuf::from("ca.pem"), why }.explained()
        };
        assert!(explained(CertificateError::UnknownIssuer).contains("--ca"));
        for (why, hint) in [
            (CertificateError::Expired, "renew the certificate"),
            (CertificateError::NotValidYet, "clock"),
            (CertificateError::NotValidForName, "a name that the certificate has"),
        ] {
            let text = explained(why);
            assert!(text.contains(hint) && !text.contains("--ca"), "{text}");
        }
    }
}
