//! Certificates by ACME (RFC 8555): a certificate authority checks that the domain leads to this process, by a TLS
//! handshake on the same port (TLS-ALPN-01, RFC 8737), and signs one. It is renewed while the service runs.

mod account;
mod certificate;
mod error;
mod order;
mod schedule;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use doorbell_private_file as private_file;
use doorbell_protocol::time::UnixMs;
use instant_acme::Account;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use super::{CertificateResolver, TlsError};
use crate::clock::Clock;
use crate::config::AcmeSettings;
use certificate::Certificate;
use error::AcmeError;
use schedule::{Schedule, wait_after};

/// The protocol of a handshake that validates the domain (RFC 8737 s6.2).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The folder of account and certificate in the state directory.
const FOLDER: &str = "acme";
/// How often it looks whether the certificate is due.
const CHECKED_EVERY: Duration = Duration::from_secs(5);
/// How long an order may take. The client of ACME has no time-outs of its own.
const ORDER_TIMEOUT: Duration = Duration::from_secs(300);
/// Orders that are begun again at once because the server took no nonce: that is nobody's fault and costs nothing.
const NONCE_ATTEMPTS: u32 = 12;

/// The certificate of a domain, and what is known of the next one.
pub(crate) struct Acme {
    settings: AcmeSettings,
    folder: PathBuf,
    account: Option<Account>,
    current: Option<Certificate>,
    schedule: Schedule,
    failures: u32,
    /// By the time of service: no order before it.
    not_before: UnixMs,
}

impl Acme {
    /// With the certificate that an earlier run obtained for this domain, if there is one.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub(crate) fn open(settings: AcmeSettings, state_dir: &std::path::Path) -> Result<Self, TlsError> {
        let folder = state_dir.join(FOLDER);
        private_file::create_folder(&folder).map_err(|source| TlsError::Folder { path: folder.clone(), source })?;
        let current = match Certificate::load(&folder, &settings.domain) {
            Ok(current) => current,
            Err(error) => {
                warn!(%error, "the saved certificate cannot be used: another one is requested");
                None
            }
        };
        Ok(Self {
            settings,
            folder,
            account: None,
            current,
            schedule: Schedule::default(),
            failures: 0,
            not_before: UnixMs::default(),
        })
    }

    /// Presents the saved certificate, if there is one.
    pub(super) fn present(&self, resolver: &CertificateResolver) -> Result<(), TlsError> {
        self.current.as_ref().map_or(Ok(()), |current| resolver.replace(current.identity()?))
    }

    /// Obtains the first certificate and each next one. Never returns.
    pub(super) async fn keep_current(mut self, resolver: Arc<CertificateResolver>, clock: Clock) {
        if self.current.is_none() {
            info!(
                domain = %self.settings.domain, directory = %self.settings.directory,
                "there is no certificate yet: one is requested, and TLS connections are refused until it is there. The account \
                 is created with your agreement to the terms of service of this authority"
            );
        }
        loop {
            self.look(&resolver, &clock).await;
            sleep(CHECKED_EVERY).await;
        }
    }

    async fn look(&mut self, resolver: &CertificateResolver, clock: &Clock) {
        let now = certificate::date(clock.plausible_wall());
        if let (Some(account), Some(current)) = (&self.account, &self.current) {
            self.schedule.ask(account, current, clock.served()).await;
        }
        let is_due = self.current.as_ref().is_none_or(|current| self.schedule.is_due(current, now));
        if !is_due || clock.served() < self.not_before {
            return;
        }
        match self.obtain(resolver).await {
            Ok(next) => {
                info!(domain = %self.settings.domain, until = %next.validity().not_after, "a new certificate is in use");
                self.current = Some(next);
                self.schedule = Schedule::default();
                self.failures = 0;
            }
            Err(error) => {
                self.failures += 1;
                let wait = wait_after(&error, self.failures);
                self.not_before = clock.served().plus(wait);
                let left = self.current.as_ref().map(|current| current.validity().not_after.to_string());
                error!(
                    %error, domain = %self.settings.domain, next_attempt_in_secs = wait.as_secs(),
                    old_certificate_ends = left.as_deref().unwrap_or("there is none"), "no new certificate: {}", error.advice()
                );
            }
        }
    }

    /// Obtains a certificate, saves it and presents it.
    async fn obtain(&mut self, resolver: &CertificateResolver) -> Result<Certificate, AcmeError> {
        let issued = timeout(ORDER_TIMEOUT, self.order(resolver)).await.map_err(|_| AcmeError::TimedOut)??;
        let next = Certificate::from_pem(issued, &self.settings.domain)?;
        // What rustls cannot use is not saved.
        resolver.replace(next.identity()?)?;
        next.save(&self.folder)?;
        Ok(next)
    }

    async fn order(&mut self, resolver: &CertificateResolver) -> Result<String, AcmeError> {
        let replaced = self.current.as_ref().filter(|_| self.schedule.is_supported()).and_then(Certificate::identifier);
        for attempt in 1.. {
            // An order that names the old certificate is exempt from rate limits (RFC 9773 s5). A server may have forgotten it.
            let replaces = replaced.clone().filter(|_| attempt == 1);
            let account = self.account().await;
            let ended = match account {
                Ok(account) => order::run(&account, &self.settings, resolver, replaces).await,
                Err(error) => Err(error),
            };
            match ended {
                Err(error) if attempt == 1 && replaced.is_some() && !error.is_about_the_domain() => {
                    debug!(%error, "the order is repeated without the old certificate");
                }
                Err(error) if error.is_bad_nonce() && attempt < NONCE_ATTEMPTS => {
                    debug!(%error, "the order is repeated");
                }
                Err(error) if error.is_unknown_account() => {
                    // The next attempt creates another one.
                    self.account = None;
                    account::forget(&self.folder)?;
                    return Err(error);
                }
                done => return done,
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn account(&mut self) -> Result<Account, AcmeError> {
        if let Some(account) = &self.account {
            return Ok(account.clone());
        }
        let account = account::open(&self.settings, &self.folder).await?;
        self.account = Some(account.clone());
        Ok(account)
    }
}
