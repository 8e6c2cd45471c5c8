//! Certificates by ACME (RFC 8555): a certificate authority checks that the domain leads to this process, by a TLS
//! handshake on the same port (TLS-ALPN-01, RFC 8737), and signs one. It is renewed while the service runs.

mod account;
mod certificate;
mod client;
mod error;
mod order;
mod pace;
mod schedule;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use doorbell_private_file as private_file;
use doorbell_protocol::time::UnixMs;
use instant_acme::Account;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use super::{CertificateResolver, TlsError};
use crate::clock::Clock;
use crate::config::AcmeSettings;
use crate::seldom::Seldom;
use certificate::Certificate;
use client::{Rejection, Rejections};
use error::AcmeError;
use pace::Pace;
pub(crate) use pace::Waits;
use schedule::{ASK_TIMEOUT, Due, Schedule};

/// The protocol of a handshake that validates the domain (RFC 8737 s6.2).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The folder of account and certificate in the state directory.
const FOLDER: &str = "acme";
/// How often it looks whether the certificate is due.
const CHECKED_EVERY: Duration = Duration::from_secs(5);
/// How long an order may take. The client of ACME has no time-outs of its own.
const ORDER_TIMEOUT: Duration = Duration::from_secs(300);
/// Orders that are begun again immediately because the server rejected a nonce: servers do that at random.
const NONCE_ATTEMPTS: u32 = 12;

/// Looks at the files of the settings: the operator who starts the service fixes them now.
///
/// # Errors
/// [`TlsError::Acme`], with what to do.
fn check(settings: &AcmeSettings, folder: &Path) -> Result<(), TlsError> {
    let wrong = |error: AcmeError| TlsError::Acme(format!("{error}; {}", error.advice(None)));
    if let Some(ca) = &settings.ca {
        client::roots(ca).map_err(|why| wrong(AcmeError::Ca { path: ca.clone(), why }))?;
    }
    if let Some(binding) = settings.binding.as_ref().filter(|_| account::is_missing(settings, folder)) {
        binding.key().map_err(|why| wrong(AcmeError::Binding { path: binding.key_file.clone(), why }))?;
    }
    Ok(())
}

/// The certificate of a domain, and what is known of the next one.
pub(crate) struct Acme {
    settings: AcmeSettings,
    folder: PathBuf,
    account: Option<Account>,
    /// Whether the account and its directory are read again before they are used: they may have changed.
    is_stale: bool,
    rejections: Rejections,
    current: Option<Certificate>,
    /// Whether `current` is in its file.
    is_saved: bool,
    /// Lines about that.
    unsaved: Seldom,
    schedule: Schedule,
    pace: Pace,
}

impl Acme {
    /// With the certificate that an earlier run obtained for this domain, if there is one.
    ///
    /// # Errors
    /// If the folder cannot be created, or there is no certificate and a file of the settings cannot be used.
    pub(crate) fn open(settings: AcmeSettings, state_dir: &Path) -> Result<Self, TlsError> {
        let folder = state_dir.join(FOLDER);
        private_file::create_folder(&folder).map_err(|source| TlsError::Folder { path: folder.clone(), source })?;
        let current = match Certificate::load(&folder, &settings.domain) {
            Ok(current) => current,
            Err(error) => {
                let file = folder.join(certificate::FILE);
                warn!(
                    %error, file = %file.display(),
                    "the saved certificate cannot be used, and another one is requested: if it must not be, stop the service \
                     and fix the file"
                );
                None
            }
        };
        if let Err(error) = check(&settings, &folder) {
            if current.is_none() {
                return Err(error);
            }
            // Until it ends there is time to fix that.
            error!(%error, "the saved certificate stays in use and cannot be renewed");
        }
        let pace = Pace::load(&folder);
        Ok(Self {
            settings,
            folder,
            account: None,
            is_stale: false,
            rejections: Rejections::default(),
            current,
            is_saved: true,
            unsaved: Seldom::default(),
            schedule: Schedule::default(),
            pace,
        })
    }

    /// The files with secrets in the state directory.
    pub(crate) fn files(state_dir: &Path) -> [PathBuf; 2] {
        [account::FILE, certificate::FILE].map(|file| state_dir.join(FOLDER).join(file))
    }

    /// Presents the saved certificate, if there is one.
    pub(super) fn present(&self, resolver: &CertificateResolver) -> Result<(), TlsError> {
        self.current.as_ref().map_or(Ok(()), |current| resolver.replace(current.identity()?))
    }

    /// Obtains the first certificate and each next one. `reload` ends the wait after a failure, if that was not just now.
    /// Never returns.
    pub(super) async fn keep_current(mut self, resolver: Arc<CertificateResolver>, clock: Clock, reload: Arc<Notify>) {
        let served = clock.served();
        self.pace.resume(served);
        if let Some(waits) = self.pace.waits(served) {
            warn!(
                domain = %self.settings.domain, has_certificate = self.current.is_some(),
                next_attempt_in_secs = waits.left(served).as_secs(),
                "the last attempt to obtain a certificate failed or was interrupted: the next one comes after the wait; {}",
                waits.advice(served)
            );
        } else if self.current.is_none() {
            info!(
                domain = %self.settings.domain, directory = %self.settings.directory,
                "there is no certificate yet: one is requested, and TLS connections are refused until it is there. The account \
                 is created with your agreement to the terms of service of this authority"
            );
        }
        loop {
            self.look(&resolver, &clock).await;
            tokio::select! {
                () = sleep(CHECKED_EVERY) => {}
                () = reload.notified() => {
                    self.pace.hurry(clock.served());
                    self.schedule.ask_again();
                }
            }
        }
    }

    async fn look(&mut self, resolver: &CertificateResolver, clock: &Clock) {
        let (now, served) = (certificate::date(clock.plausible_wall()), clock.served());
        self.save(served);
        resolver.set_next_attempt(self.pace.waits(served));
        self.ask(served).await;
        let due = match &self.current {
            None => Due::Now,
            Some(current) => self.schedule.due(current.validity(), now),
        };
        if !self.pace.permits(due, self.current.as_ref().map(Certificate::validity), served) {
            return;
        }
        *self.rejections.lock() = Rejection::default();
        let ended = self.obtain(resolver, clock).await;
        // An order takes some minutes at most.
        let served = clock.served();
        match ended {
            Ok(()) => {
                let until = self.current.as_ref().map(Certificate::end);
                info!(domain = %self.settings.domain, until, "a new certificate is in use");
                self.schedule = Schedule::default();
                self.pace.succeeded(&self.folder, served);
                resolver.note_attempt(true);
                resolver.set_next_attempt(None);
            }
            Err(error) => {
                resolver.note_attempt(false);
                self.is_stale = true;
                let Rejection { retry_after, instance } = std::mem::take(&mut *self.rejections.lock());
                let wait = self.pace.failed(&self.folder, &error, retry_after, served);
                let waits = self.pace.waits(served).expect("each failure has a wait");
                resolver.set_next_attempt(Some(waits));
                let left = self.current.as_ref().map(Certificate::end);
                error!(
                    %error, domain = %self.settings.domain, next_attempt_in_secs = wait.as_secs(),
                    old_certificate_ends = left.as_deref().unwrap_or("there is none"), "no new certificate: {}; {}",
                    error.advice(instance.as_deref()), waits.advice(served)
                );
            }
        }
    }

    /// Asks the authority when to renew, if it is time to ask.
    async fn ask(&mut self, served: UnixMs) {
        let Some(current) = self.current.as_ref().filter(|_| self.schedule.may_ask(served)) else { return };
        if self.account.is_none() {
            // It is not created for a question.
            match timeout(ASK_TIMEOUT, account::load(&self.settings, &self.folder, &self.rejections)).await {
                Ok(Ok(account)) => self.account = account,
                Ok(Err(error)) => debug!(%error, "the account is not available"),
                Err(_) => debug!("the authority did not answer"),
            }
        }
        self.schedule.ask(self.account.as_ref(), current, served).await;
    }

    /// Obtains a certificate, presents it and saves it.
    async fn obtain(&mut self, resolver: &CertificateResolver, clock: &Clock) -> Result<(), AcmeError> {
        // Where this cannot be written, neither can a certificate, and each attempt counts at the authority.
        self.pace.begin(&self.folder, clock.served())?;
        let issued = timeout(ORDER_TIMEOUT, self.order(resolver, clock)).await.map_err(|_| AcmeError::TimedOut)??;
        let next = Certificate::from_pem(issued, &self.settings.domain)?;
        // What rustls cannot use is not saved.
        resolver.replace(next.identity()?)?;
        self.current = Some(next);
        self.is_saved = false;
        self.save(clock.served());
        Ok(())
    }

    /// Saves the certificate, if it is not saved yet: after a restart it is presented again.
    fn save(&mut self, served: UnixMs) {
        if self.is_saved {
            return;
        }
        let current = self.current.as_ref().expect("only an issued certificate is unsaved");
        match current.save(&self.folder) {
            Ok(()) => (self.is_saved, self.unsaved) = (true, Seldom::default()),
            Err(error) => self.unsaved.log(served, move |times| {
                error!(%error, times, "the certificate is in use and not saved: {}", error.advice(None));
            }),
        }
    }

    async fn order(&mut self, resolver: &CertificateResolver, clock: &Clock) -> Result<String, AcmeError> {
        let replaced = self.current.as_ref().filter(|_| self.schedule.is_supported()).and_then(Certificate::identifier);
        // An order that names the old certificate is exempt from rate limits (RFC 9773 s5). A server may have forgotten it.
        let mut names_old = replaced.is_some();
        for attempt in 1.. {
            let replaces = replaced.clone().filter(|_| names_old);
            let ended = match self.account().await {
                Ok(account) => {
                    let is_counted = || self.pace.validates(&self.folder, clock.served());
                    order::run(&account, &self.settings, resolver, replaces, is_counted).await
                }
                Err(error) => Err(error),
            };
            match ended {
                Err(error) if error.is_bad_nonce() && attempt < NONCE_ATTEMPTS => {
                    debug!(%error, "the order is repeated");
                }
                Err(error) if names_old && error.may_be_of_replacement() => {
                    debug!(%error, "the order is repeated without the old certificate");
                    names_old = false;
                }
                Err(error) if error.is_unknown_account() => {
                    // The next attempt creates another one.
                    self.account = None;
                    account::forget(&self.folder)?;
                    return Err(error);
                }
                Err(error) if error.is_refused_account() => {
                    // The file decides at the next attempt: the operator may remove it.
                    self.account = None;
                    return Err(error);
                }
                done => return done,
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn account(&mut self) -> Result<Account, AcmeError> {
        if let Some(account) = self.account.as_ref().filter(|_| !self.is_stale) {
            return Ok(account.clone());
        }
        let account = match account::load(&self.settings, &self.folder, &self.rejections).await? {
            Some(account) => account,
            None => match self.account.take() {
                // It could not be saved.
                Some(account) => account,
                None => account::create(&self.settings, &self.folder, &self.rejections).await?,
            },
        };
        self.is_stale = false;
        self.account = Some(account.clone());
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);
    const DOMAIN: &str = "push.example.org";

    fn settings() -> AcmeSettings {
        let directory = "https://ca.example/directory".to_owned();
        AcmeSettings { domain: DOMAIN.to_owned(), directory, ca: None, contact: None, profile: None, binding: None }
    }

    fn pem() -> String {
        let made = rcgen::generate_simple_self_signed(vec![DOMAIN.to_owned()]).unwrap();
        format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_that_cannot_be_saved_is_an_error_once_a_minute_until_it_is() {
        let state = tempfile::tempdir().unwrap();
        let mut acme = Acme::open(settings(), state.path()).unwrap();
        acme.current = Some(Certificate::from_pem(pem(), DOMAIN).unwrap());
        acme.is_saved = false;
        std::fs::remove_dir(&acme.folder).unwrap();
        (0..5).for_each(|_| acme.save(NOW));
        assert!(!acme.is_saved);
        assert_eq!(acme.unsaved.without_line(), 4, "the first one had a line");
        private_file::create_folder(&acme.folder).unwrap();
        acme.save(NOW);
        assert!(acme.is_saved && Acme::open(settings(), state.path()).unwrap().current.is_some());
    }

    #[tokio::test]
    async fn a_damaged_certificate_is_replaced_and_a_damaged_account_is_an_error_that_says_what_to_do() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join(FOLDER);
        private_file::create_folder(&folder).unwrap();
        for damaged in ["", "half of a certi", &pem()[..400]] {
            std::fs::write(folder.join(certificate::FILE), damaged).unwrap();
            std::fs::write(folder.join(account::FILE), "{").unwrap();
            assert!(Acme::open(settings(), state.path()).unwrap().current.is_none(), "{damaged}");
        }
        let error = account::load(&settings(), &folder, &Rejections::default()).await.err().unwrap();
        assert!(error.to_string().contains("account.json"), "{error}");
        assert!(error.advice(None).contains("remove it: then another one is created"), "{}", error.advice(None));
        std::fs::remove_file(folder.join(account::FILE)).unwrap();
        std::fs::create_dir(folder.join(account::FILE)).unwrap();
        let error = account::load(&settings(), &folder, &Rejections::default()).await.err().unwrap();
        assert!(error.advice(None).contains("permissions of the state directory"), "{}", error.advice(None));
    }
}
