//! Renews the certificate of a listener while it runs: one of our own before it ends, one of the configuration when its
//! files have changed. No connection is lost: each handshake uses the certificate of its time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use doorbell_private_file::{self as private_file, Version};
use doorbell_protocol::time::UnixMs;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::looks::Looks;
use super::self_signed::SelfSigned;
use super::{Acme, CertificateResolver, Identity, TlsError, inspection};
use crate::clock::Clock;

/// How often the wall clock and the files are looked at. After a boot with a wrong clock, or after a renewal by another
/// program, the right certificate is there in this time; a look takes two system calls.
const CHECKED_EVERY: Duration = Duration::from_secs(10);

/// The certificate of a listener, and where the next one comes from.
pub(crate) struct Certificates {
    resolver: Arc<CertificateResolver>,
    source: Source,
    /// Whether the last look failed, so that each failure is logged once.
    has_failed: bool,
}

/// Where certificates come from.
pub(crate) enum Source {
    /// We make them.
    SelfSigned(SelfSigned),
    /// Another program writes them.
    Files(Files),
    /// A certificate authority signs them.
    Acme(Box<Acme>),
}

/// Certificate and key of the configuration.
pub(crate) struct Files {
    cert: PathBuf,
    key: PathBuf,
    /// The host that clients open, as in a URL.
    host: String,
    /// The files that were read last; none where one could not be looked at.
    seen: Option<[Option<Version>; 2]>,
}

impl Certificates {
    /// With the first certificate of `source`; that of an authority may come later.
    pub(crate) fn open(mut source: Source, clock: &Clock) -> Result<Self, TlsError> {
        let resolver = CertificateResolver::empty();
        match &mut source {
            Source::SelfSigned(own) => {
                let first = own.renew(clock.plausible_wall())?;
                resolver.replace(first.expect("there is a first certificate or an error"))?;
            }
            Source::Files(files) => {
                let first = files.changed(clock.plausible_wall())?;
                resolver.replace(first.expect("files are new at first"))?;
            }
            Source::Acme(acme) => acme.present(&resolver)?,
        }
        Ok(Self { resolver: Arc::new(resolver), source, has_failed: false })
    }

    /// Presents the newest certificate.
    pub(crate) fn resolver(&self) -> Arc<CertificateResolver> {
        self.resolver.clone()
    }

    /// Renews it whenever that is due, and looks at once when it is asked to. Never returns.
    pub(crate) async fn keep_current(mut self, clock: Clock, looks: Arc<Looks>) {
        if let Source::Acme(acme) = self.source {
            return acme.keep_current(self.resolver, clock, looks.asked_of()).await;
        }
        let _looking = looks.looking();
        loop {
            tokio::select! {
                () = sleep(CHECKED_EVERY) => {}
                () = looks.asked() => {}
            }
            let waiting = looks.begin();
            let now = clock.plausible_wall();
            let checked = spawn_blocking(move || {
                self.check(now);
                self
            });
            self = match checked.await {
                Ok(checked) => checked,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            };
            for asked in waiting {
                // It may have stopped waiting.
                asked.send(()).ok();
            }
        }
    }

    fn check(&mut self, now: UnixMs) {
        match self.source.next(now).and_then(|next| next.map(|next| self.resolver.replace(next)).transpose()) {
            Ok(None) => {}
            Ok(Some(())) => {
                self.has_failed = false;
                self.resolver.note_attempt(true);
                self.resolver.note_problem(None);
                info!("a new certificate is in use");
            }
            Err(error) => {
                self.resolver.note_attempt(false);
                self.resolver.note_problem(Some(error.to_string()));
                // What is in files is judged again only after they have changed, all else at each look.
                let is_known = std::mem::replace(&mut self.has_failed, true);
                if !is_known || (matches!(self.source, Source::Files(_)) && !error.is_of_reading()) {
                    error!(%error, "the certificate cannot be renewed: the old one stays in use until this is fixed");
                }
            }
        }
    }
}

impl Source {
    /// The next certificate, if there is a newer one than before.
    fn next(&mut self, now: UnixMs) -> Result<Option<Identity>, TlsError> {
        match self {
            Self::SelfSigned(own) => own.renew(now),
            Self::Files(files) => files.changed(now),
            Self::Acme(_) => unreachable!("an authority has a task of its own"),
        }
    }
}

impl Files {
    pub(crate) fn new(cert: PathBuf, key: PathBuf, host: String) -> Self {
        Self { cert, key, host, seen: None }
    }

    /// What is in the files, if they have changed. The two are written one after the other, so that they may not match
    /// for a moment; the second one then changes again. What clients will refuse is logged.
    fn changed(&mut self, now: UnixMs) -> Result<Option<Identity>, TlsError> {
        let versions = [&self.cert, &self.key].map(|file| private_file::version(file).ok());
        if self.seen == Some(versions) {
            return Ok(None);
        }
        let identity = Identity::from_files(&self.cert, &self.key);
        // A file that could not be read is read again, also if it does not change; one with wrong contents is not.
        let must_be_read_again = identity.as_ref().err().is_some_and(TlsError::is_of_reading);
        self.seen = Some(versions).filter(|_| !must_be_read_again);
        let identity = identity?;
        for warning in inspection::warnings(&identity.chain, &self.host, now) {
            warn!("{warning}");
        }
        Ok(Some(identity))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);

    #[test]
    fn files_that_could_not_be_read_are_read_again_without_a_change_and_wrong_contents_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let files = || Files::new(cert.clone(), key.clone(), "localhost".to_owned());
        let mut certificates = Certificates::open(Source::Files(files()), &Clock::manual(NOW)).unwrap();
        let mut changed = files();
        assert!(changed.changed(NOW).unwrap().is_some() && changed.changed(NOW).unwrap().is_none());

        // The system looks at a directory as it does at a file, and cannot read it: that is also how EMFILE fails.
        fs::rename(&key, folder.path().join("kept")).unwrap();
        fs::create_dir(&key).unwrap();
        for _ in 0..3 {
            assert!(changed.changed(NOW).is_err_and(|error| error.is_of_reading()));
            certificates.check(NOW);
        }
        assert_eq!(certificates.resolver.attempts().failed.get(), 3);
        fs::remove_dir(&key).unwrap();
        fs::rename(folder.path().join("kept"), &key).unwrap();
        assert!(changed.changed(NOW).unwrap().is_some());
        certificates.check(NOW);
        assert_eq!(certificates.resolver.attempts().succeeded.get(), 1);
        assert!(!certificates.has_failed, "the next failure is logged");

        fs::write(&key, "no key").unwrap();
        assert!(changed.changed(NOW).is_err_and(|error| !error.is_of_reading()));
        assert!(changed.changed(NOW).unwrap().is_none(), "it has not changed");
    }
}
