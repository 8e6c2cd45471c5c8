//! The desktop's clocks: a monotonic one that measures how long something took or may take, and the time of the day, which
//! only the texts for users need.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Counts from the moment it was created; the rules ([`crate::rules`]) take its reading as an argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that shows zero now.
    #[expect(clippy::disallowed_methods, reason = "this is the crate's clock file")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// How long ago the clock was started.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits until the clock shows `at`; forever if there is no such moment.
    pub(crate) async fn reaches(&self, at: Option<Duration>) {
        match at.and_then(|at| self.start.checked_add(at)) {
            Some(moment) => tokio::time::sleep_until(moment).await,
            None => std::future::pending().await,
        }
    }
}

/// Seconds since 1970 by the clock of this machine.
#[expect(clippy::disallowed_methods, reason = "this is the crate's clock file")]
pub(crate) fn unix_seconds() -> u64 {
    // A clock that is set to a time before 1970 is wrong anyway.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
