//! When a browser is started without a message: to stay, or to get its credential. Without IO, and with the time as an
//! argument.

use std::time::Duration;

/// How often a browser is started to get a credential, without a connection to the service in between.
const CREDENTIAL_STARTS_MAX: u32 = 3;
/// The first wait while another process starts or prepares the profile's browser; it doubles up to [`RETRY_MAX`].
const BUSY_FIRST: Duration = Duration::from_millis(250);
/// The first wait after a start that failed; it doubles too.
const FAILED_FIRST: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// The starts of one profile.
#[derive(Debug, Default)]
pub(crate) struct Unasked {
    due: Option<Duration>,
    attempts: u32,
    for_credential: u32,
}

impl Unasked {
    /// The browser shall run from now on.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.due = Some(now);
        self.attempts = 0;
    }

    /// The profile has no credential: the browser shall run, unless it has run often enough without getting one.
    pub(crate) fn credential_is_missing(&mut self, now: Duration) {
        if self.due.is_none() && self.for_credential < CREDENTIAL_STARTS_MAX {
            self.for_credential += 1;
            self.begin(now);
        }
    }

    /// The service is connected again: what kept the browser from a credential may be over, so that one more start is
    /// worth it.
    pub(crate) fn connected(&mut self) {
        self.for_credential = self.for_credential.min(CREDENTIAL_STARTS_MAX - 1);
    }

    /// When the next start is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// A browser runs.
    pub(crate) fn runs(&mut self) {
        self.due = None;
    }

    /// Another process starts or prepares the browser.
    pub(crate) fn busy(&mut self, now: Duration) {
        self.again(now, BUSY_FIRST);
    }

    /// The start has failed.
    pub(crate) fn failed(&mut self, now: Duration) {
        self.again(now, FAILED_FIRST);
    }

    fn again(&mut self, now: Duration, first: Duration) {
        let wait = first.saturating_mul(1 << self.attempts.min(31)).min(RETRY_MAX);
        self.attempts = self.attempts.saturating_add(1);
        self.due = Some(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_start_that_failed_is_repeated_ever_less_often_until_a_browser_runs() {
        let mut unasked = Unasked::default();
        assert_eq!(unasked.due(), None);
        unasked.begin(SECOND);
        let starts: Vec<u64> = (0..9)
            .map(|_| {
                let at = unasked.due().expect("it is tried again");
                unasked.failed(at);
                at.as_secs()
            })
            .collect();
        assert_eq!(starts, [1, 61, 181, 421, 901, 1861, 3781, 7381, 10981]);
        unasked.runs();
        assert_eq!(unasked.due(), None);
        unasked.begin(SECOND);
        unasked.busy(SECOND);
        assert_eq!(unasked.due(), Some(SECOND + BUSY_FIRST), "each beginning is its own");
    }

    #[test]
    fn a_browser_that_gets_no_credential_is_started_three_times_and_once_more_after_each_connection() {
        let mut unasked = Unasked::default();
        let mut starts = |connected: bool| {
            if connected {
                unasked.connected();
            }
            (0..9)
                .filter(|_| {
                    unasked.credential_is_missing(SECOND);
                    let due = unasked.due().is_some();
                    unasked.runs();
                    due
                })
                .count()
        };
        assert_eq!([starts(false), starts(false), starts(true), starts(true)], [3, 0, 1, 1]);
    }

    #[test]
    fn a_start_that_is_due_already_is_not_counted_again() {
        let mut unasked = Unasked::default();
        for _ in 0..9 {
            unasked.credential_is_missing(SECOND);
        }
        assert_eq!(unasked.for_credential, 1);
    }
}
