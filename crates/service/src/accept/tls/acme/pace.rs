//! How often an order may be made. Authorities count orders and failed validations in a week and an hour, so the last
//! attempt is kept in a file: a service that is restarted again and again, or whose clock is wrong, stays within them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use doorbell_private_file as private_file;
use doorbell_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::super::self_signed::Validity;
use super::error::AcmeError;
use super::schedule::Due;

/// The file of the last attempt.
const FILE: &str = "attempt.json";
/// After a failed validation, at least and at most. Let's Encrypt permits five in an hour.
const AFTER_VALIDATION: (Duration, Duration) = (Duration::from_secs(12 * 60), Duration::from_secs(12 * 3600));
/// After any other failure.
const AFTER_OTHER: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));
/// The longest wait that an authority may ask for: where it limits a rate, and where it fails.
const ASKED_MAX: (Duration, Duration) = (Duration::from_secs(24 * 3600), AFTER_OTHER.1);
/// A certificate that ends before it begins counts as one of this lifetime: it is always due.
const WITHOUT_LIFETIME: Duration = Duration::from_secs(4 * 3600);
/// Between two orders that the authority itself suggests, which it does not count.
const BETWEEN_SUGGESTED: Duration = Duration::from_secs(24 * 3600);

/// The last attempt. Its times are those of service, which no wrong clock moves and the store continues.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When it began.
    last: Option<UnixMs>,
    /// The failures in a row, the last attempt included; none after a success.
    failures: u32,
    /// No attempt before this, after a failure.
    not_before: UnixMs,
    /// Whether the authority does not count the last failure, so that the operator may ask for another attempt at once.
    is_free: bool,
}

/// What the file has: the times in milliseconds.
#[derive(Serialize, Deserialize)]
struct Saved {
    last: Option<i64>,
    failures: u32,
    not_before: i64,
    /// Missing in the files of earlier versions.
    #[serde(default)]
    is_free: bool,
}

/// A wait after a failure, by the time of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    /// When the next attempt is.
    until: UnixMs,
    /// When it is if the operator asks for it.
    shortest: UnixMs,
}

impl Waits {
    /// How long it is until the next attempt.
    pub(super) fn left(self, served: UnixMs) -> Duration {
        self.until.since(served)
    }

    /// How an operator shortens it.
    pub(super) fn advice(self, served: UnixMs) -> String {
        if self.shortest <= served {
            "`doorbell reload` starts the next attempt now".to_owned()
        } else if self.shortest < self.until {
            let left = self.shortest.since(served).as_secs();
            format!("after `doorbell reload` the next attempt is in {left} s")
        } else {
            "nothing shortens the wait, because authorities permit few failed validations in an hour".to_owned()
        }
    }

    /// When the next attempt is, and how an operator shortens the wait.
    pub(crate) fn hint(self, served: UnixMs) -> String {
        let left = self.left(served).as_secs();
        format!("the next attempt is in {left} s; {}", self.advice(served))
    }
}

impl Pace {
    /// What an earlier run kept. What cannot be read is an attempt less.
    pub(super) fn load(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let Ok(json) = std::fs::read(&path) else { return Self::default() };
        match serde_json::from_slice(&json) {
            Ok(Saved { last, failures, not_before, is_free }) => {
                let (last, not_before) = (last.map(UnixMs::from_millis), UnixMs::from_millis(not_before));
                Self { last, failures, not_before, is_free }
            }
            Err(error) => {
                warn!(%error, file = %path.display(), "the last attempt to obtain a certificate cannot be read");
                Self::default()
            }
        }
    }

    /// The service starts at this time. After a kill it is earlier than the last attempt, because the time of service is
    /// recorded now and then: what was left of the wait is left still.
    pub(super) fn resume(&mut self, served: UnixMs) {
        let Some(lost) = self.last.filter(|last| *last > served).map(|last| last.since(served)) else { return };
        (self.last, self.not_before) = (Some(served), self.not_before.minus(lost));
    }

    /// Whether an order may be made, for a certificate with this validity.
    pub(super) fn permits(&self, due: Due, current: Option<Validity>, served: UnixMs) -> bool {
        let lifetime = current.map(|valid| match Duration::try_from(valid.not_after - valid.not_before) {
            Ok(lifetime) if !lifetime.is_zero() => lifetime,
            _ => WITHOUT_LIFETIME,
        });
        // A new certificate that is due at once was signed by another clock than ours: the next one would be too.
        let between = match (due, lifetime) {
            (Due::Later, _) => return false,
            _ if self.failures > 0 => return served >= self.not_before,
            (Due::Now, _) | (_, None) => Duration::ZERO,
            (Due::Suggested, Some(lifetime)) => (lifetime / 4).min(BETWEEN_SUGGESTED),
            (Due::Ends, Some(lifetime)) => lifetime / 4,
        };
        self.last.is_none_or(|last| served >= last.plus(between))
    }

    /// How long there is no attempt, after a failure.
    pub(super) fn waits(&self, served: UnixMs) -> Option<Waits> {
        let is_over = self.failures == 0 || served >= self.not_before;
        (!is_over).then(|| Waits { until: self.not_before, shortest: self.not_before.min(self.earliest(served)) })
    }

    /// An attempt begins. Until it has ended it counts as a failure that the authority does not count.
    pub(super) fn begin(&mut self, folder: &Path, served: UnixMs) -> Result<(), AcmeError> {
        self.fails_until_it_ends(folder, AFTER_OTHER, served)?;
        self.last = Some(served);
        Ok(())
    }

    /// The authority is about to validate the domain, or to sign. Until the attempt has ended it counts as a failed
    /// validation.
    pub(super) fn validates(&self, folder: &Path, served: UnixMs) -> Result<(), AcmeError> {
        self.fails_until_it_ends(folder, AFTER_VALIDATION, served)
    }

    /// Only in the file, for the next start.
    fn fails_until_it_ends(&self, folder: &Path, waits: (Duration, Duration), served: UnixMs) -> Result<(), AcmeError> {
        let failures = self.failures.saturating_add(1);
        let not_before = served.plus(wait(waits, failures));
        let begun = Self { last: Some(served), failures, not_before, is_free: waits == AFTER_OTHER };
        begun.save(folder).map_err(|(path, source)| AcmeError::File { path, source })
    }

    pub(super) fn succeeded(&mut self, folder: &Path, served: UnixMs) {
        *self = Self { last: Some(served), ..Self::default() };
        self.keep(folder);
    }

    /// How long to wait: at least as long as the authority asks for, within bounds.
    pub(super) fn failed(
        &mut self,
        folder: &Path,
        error: &AcmeError,
        asked: Option<Duration>,
        served: UnixMs,
    ) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.is_free = !error.counts();
        let own = wait(if error.counts() { AFTER_VALIDATION } else { AFTER_OTHER }, self.failures);
        let asked_max = if error.is_rate() { ASKED_MAX.0 } else { ASKED_MAX.1 };
        let wait = own.max(asked.map_or(Duration::ZERO, |asked| asked.min(asked_max)));
        (self.last, self.not_before) = (Some(served), served.plus(wait));
        self.keep(folder);
        wait
    }

    /// The operator asks for an attempt: it comes as early as it may.
    pub(super) fn hurry(&mut self, served: UnixMs) {
        self.not_before = self.not_before.min(self.earliest(served));
    }

    /// When an attempt may be that the operator asks for.
    fn earliest(&self, served: UnixMs) -> UnixMs {
        let counted = self.last.filter(|_| !self.is_free);
        counted.map_or(served, |last| last.plus(AFTER_VALIDATION.0))
    }

    fn keep(&self, folder: &Path) {
        if let Err((path, error)) = self.save(folder) {
            warn!(%error, file = %path.display(), "the attempt to obtain a certificate is not recorded");
        }
    }

    fn save(&self, folder: &Path) -> Result<(), (PathBuf, std::io::Error)> {
        let path = folder.join(FILE);
        let (last, not_before) = (self.last.map(UnixMs::as_millis), self.not_before.as_millis());
        let json = serde_json::to_vec(&Saved { last, failures: self.failures, not_before, is_free: self.is_free })
            .expect("numbers always have a JSON form");
        private_file::replace(&path, &json).map_err(|error| (path, error))
    }
}

/// The wait after this many failures in a row.
fn wait((first, most): (Duration, Duration), failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(most)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NINETY_DAYS: Validity =
        Validity { not_before: datetime!(2026-12-01 00:00 UTC), not_after: datetime!(2027-03-01 00:00 UTC) };
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const NOON: UnixMs = UnixMs::from_secs(1_000_000);

    #[test]
    fn a_failed_validation_waits_twelve_minutes_at_least_and_every_wait_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut pace = Pace::default();
        let mut fails = |error: &AcmeError| pace.failed(folder.path(), error, None, NOON).as_secs();
        assert_eq!([fails(&AcmeError::Unexplained), fails(&AcmeError::Unexplained)], [720, 1440]);
        assert_eq!((0..30).map(|_| fails(&AcmeError::TimedOut)).max(), Some(12 * 3600));
        let mut pace = Pace::default();
        let mut fails = || pace.failed(folder.path(), &AcmeError::NoChallenge, None, NOON).as_secs();
        assert_eq!((fails(), (0..30).map(|_| fails()).max()), (30, Some(3600)));
    }

    #[test]
    fn a_restart_ends_no_wait_and_a_request_of_the_operator_does_after_twelve_minutes() {
        let folder = tempfile::tempdir().unwrap();
        let mut pace = Pace::default();
        for _ in 0..4 {
            pace.failed(folder.path(), &AcmeError::Unexplained, None, NOON);
        }
        let mut again = Pace::load(folder.path());
        let after =
            |pace: &Pace, minutes: u64| pace.permits(Due::Now, None, NOON.plus(Duration::from_secs(60 * minutes)));
        assert!(!after(&again, 95) && after(&again, 96));
        again.hurry(NOON.plus(Duration::from_secs(60)));
        assert!(!after(&again, 11) && after(&again, 12));
        pace.begin(folder.path(), NOON).unwrap();
        pace.validates(folder.path(), NOON).unwrap();
        assert!(!after(&Pace::load(folder.path()), 190), "a validation that a crash ended counts");
    }

    #[test]
    fn a_kill_that_took_back_the_time_of_service_ends_no_wait() {
        let folder = tempfile::tempdir().unwrap();
        let mut pace = Pace::default();
        pace.begin(folder.path(), NOON).unwrap();
        pace.validates(folder.path(), NOON).unwrap();
        let earlier = UnixMs::from_millis(NOON.as_millis() - 600_000);
        let mut again = Pace::load(folder.path());
        again.resume(earlier);
        assert_eq!(again.waits(earlier).unwrap().left(earlier), AFTER_VALIDATION.0);
        assert!(!again.permits(Due::Now, None, earlier.plus(Duration::from_secs(719))));
        assert!(again.permits(Due::Now, None, earlier.plus(AFTER_VALIDATION.0)));

        pace.succeeded(folder.path(), NOON);
        let mut again = Pace::load(folder.path());
        again.resume(earlier);
        assert!(!again.permits(Due::Ends, Some(NINETY_DAYS), earlier.plus(22 * DAY)));
    }

    #[test]
    fn an_attempt_that_ended_before_a_validation_costs_half_a_minute_and_one_that_ended_in_it_twelve() {
        let folder = tempfile::tempdir().unwrap();
        let mut pace = Pace::default();
        pace.begin(folder.path(), NOON).unwrap();
        let waits = |served| Pace::load(folder.path()).waits(served);
        let hint = waits(NOON).unwrap().hint(NOON);
        assert_eq!(hint, "the next attempt is in 30 s; `doorbell reload` starts the next attempt now");
        assert_eq!(waits(NOON.plus(Duration::from_secs(30))), None);
        pace.validates(folder.path(), NOON).unwrap();
        let later = NOON.plus(Duration::from_secs(60));
        assert!(waits(later).unwrap().hint(later).starts_with("the next attempt is in 660 s; nothing shortens"));
        for _ in 0..3 {
            pace.failed(folder.path(), &AcmeError::Unexplained, None, NOON);
        }
        let hint = pace.waits(later).unwrap().hint(later);
        assert_eq!(hint, "the next attempt is in 2820 s; after `doorbell reload` the next attempt is in 660 s");
        assert_eq!(Pace::load(folder.path()).waits(later), pace.waits(later), "the file has all of it");
    }

    #[test]
    fn a_certificate_without_a_lifetime_is_asked_for_each_hour_and_one_that_cannot_be_used_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut pace = Pace::default();
        pace.succeeded(folder.path(), NOON);
        let none = Validity { not_before: NINETY_DAYS.not_after, not_after: NINETY_DAYS.not_before };
        let none_at_all = Validity { not_before: NINETY_DAYS.not_after, not_after: NINETY_DAYS.not_after };
        for broken in [none, none_at_all] {
            let after =
                |minutes: u64| pace.permits(Due::Ends, Some(broken), NOON.plus(Duration::from_secs(60 * minutes)));
            assert!(!after(59) && after(60));
        }
        let unusable = AcmeError::Certificate { why: "for another key".to_owned() };
        assert_eq!(pace.failed(folder.path(), &unusable, None, NOON).as_secs(), 720);
    }

    #[test]
    fn a_wait_that_the_authority_asks_for_is_kept_within_bounds_and_one_that_it_does_not_count_ends_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let asks = |asked| Pace::default().failed(folder.path(), &AcmeError::NoChallenge, Some(asked), NOON).as_secs();
        assert_eq!([Duration::ZERO, Duration::from_secs(90), DAY].map(asks), [30, 90, 3600]);
        let limited = AcmeError::Acme(instant_acme::Error::Api(
            serde_json::from_str(r#"{"type":"urn:ietf:params:acme:error:rateLimited"}"#).unwrap(),
        ));
        let asks = |asked| Pace::default().failed(folder.path(), &limited, Some(asked), NOON).as_secs();
        assert_eq!([Duration::ZERO, DAY / 2, DAY * 9].map(asks), [720, 12 * 3600, 24 * 3600]);
        let permits_at_once = |error: &AcmeError| {
            let mut pace = Pace::default();
            pace.failed(folder.path(), error, Some(DAY), NOON);
            pace.hurry(NOON);
            pace.permits(Due::Now, None, NOON)
        };
        assert!(permits_at_once(&AcmeError::NoChallenge) && !permits_at_once(&limited));
    }

    #[test]
    fn a_certificate_that_is_due_as_soon_as_it_is_signed_is_not_ordered_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut pace = Pace::default();
        pace.succeeded(folder.path(), NOON);
        let permits = |due, days| pace.permits(due, Some(NINETY_DAYS), NOON.plus(DAY * days));
        assert!(!permits(Due::Ends, 22) && permits(Due::Ends, 23));
        assert!(
            !permits(Due::Suggested, 0) && permits(Due::Suggested, 1),
            "an authority that revokes is followed soon"
        );
        assert!(!permits(Due::Later, 80));
        assert!(pace.permits(Due::Now, None, NOON), "there is none: the file was lost");
    }

    #[test]
    fn where_nothing_can_be_written_no_attempt_begins() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        assert!(matches!(Pace::default().begin(&gone, NOON), Err(AcmeError::File { .. })));
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Pace::load(folder.path()).permits(Due::Now, None, NOON));
    }
}
