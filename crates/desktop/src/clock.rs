//! The desktop's one clock: it only measures how long something took or may take, so it is monotonic.

use std::time::Duration;

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
