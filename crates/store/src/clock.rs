//! The only place in the store that reads a clock: to measure how long a commit takes, whether a line of log is due, and
//! how long something has waited in a queue. Nothing else is decided by it.

use std::time::{Duration, Instant};

/// Measures from its creation on.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[allow(clippy::disallowed_methods, reason = "this is the clock file")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
