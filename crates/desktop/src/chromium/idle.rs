//! How long a woken Chromium has had nothing to do: without IO, and with the time since its start as an argument.

use std::time::Duration;

/// A Chromium without window and notification ends after this time: long enough for messages that follow each other, and
/// for what a service worker fetches before it shows one.
pub(super) const QUIET: Duration = Duration::from_secs(30);
/// How long it may take until it is connected to the push service.
const CONNECTS_MAX: Duration = Duration::from_secs(60);
/// The same while it has no credential: the machine may be offline, and it would have to be started again.
const CREDENTIAL_MAX: Duration = Duration::from_secs(180);

/// What is so now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// A window is open, or a notification is on the screen, or that is not known.
    pub(super) busy: bool,
    /// The profile has its credential.
    pub(super) has_credential: bool,
}

/// How long nothing has been left to do.
#[derive(Debug)]
pub(super) struct Idle {
    quiet: Duration,
    connected: bool,
    since: Option<Duration>,
    due: Option<Duration>,
}

impl Idle {
    /// Of a Chromium that has just been started, and may end after so long.
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, connected: false, since: None, due: None }
    }

    /// It is connected to the push service.
    pub(super) fn connected(&mut self) {
        self.connected = true;
    }

    /// Something has happened that is not seen: the wait begins anew.
    pub(super) fn again(&mut self) {
        self.since = None;
    }

    /// Takes what is so now: whether nothing has been left to do for long enough.
    pub(super) fn observe(&mut self, seen: Seen, now: Duration) -> bool {
        let connects_until = if seen.has_credential { CONNECTS_MAX } else { CREDENTIAL_MAX };
        let connects = !self.connected && now < connects_until;
        self.since = if seen.busy || connects { None } else { self.since.or(Some(now)) };
        self.due = match self.since {
            Some(since) => Some(since + self.quiet),
            None => connects.then_some(connects_until),
        };
        self.since.is_some_and(|since| since + self.quiet <= now)
    }

    /// When it has to be observed again, unless something happens.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const BUSY: Seen = Seen { busy: true, has_credential: true };
    const FREE: Seen = Seen { busy: false, has_credential: true };
    const WITHOUT: Seen = Seen { busy: false, has_credential: false };

    #[test]
    fn only_something_to_do_begins_the_wait_anew() {
        let mut idle = Idle::new(QUIET);
        idle.connected();
        assert!(!idle.observe(BUSY, SECOND));
        assert_eq!(idle.due(), None);
        for now in 2..32 {
            assert!(!idle.observe(FREE, now * SECOND));
            assert_eq!(idle.due(), Some(32 * SECOND));
        }
        assert!(!idle.observe(BUSY, 32 * SECOND));
        assert!(!idle.observe(FREE, 33 * SECOND));
        assert!(idle.observe(FREE, 63 * SECOND));
        idle.again();
        assert!(!idle.observe(FREE, 64 * SECOND), "it did not end, and is asked again later");
        assert!(idle.observe(FREE, 94 * SECOND));
    }

    #[test]
    fn the_wait_begins_with_the_connection_or_a_minute_after_the_start() {
        let mut idle = Idle::new(QUIET);
        assert!(!idle.observe(FREE, SECOND));
        assert_eq!(idle.due(), Some(60 * SECOND), "a slow network is waited for");
        assert!(!idle.observe(FREE, 60 * SECOND));
        assert!(idle.observe(FREE, 90 * SECOND), "and one that does not come back is not");

        let mut idle = Idle::new(QUIET);
        assert!(!idle.observe(FREE, SECOND));
        idle.connected();
        assert!(!idle.observe(FREE, 40 * SECOND));
        assert_eq!(idle.due(), Some(70 * SECOND));
    }

    #[test]
    fn a_chromium_without_its_credential_has_three_minutes_to_get_it() {
        let mut idle = Idle::new(QUIET);
        assert!(!idle.observe(WITHOUT, 61 * SECOND));
        assert_eq!(idle.due(), Some(180 * SECOND));
        assert!(!idle.observe(FREE, 70 * SECOND), "it has come");
        assert_eq!(idle.due(), Some(100 * SECOND));
        assert!(idle.observe(FREE, 100 * SECOND));
    }
}
