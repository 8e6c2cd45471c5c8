//! The tests' clock: how long a condition may take to come true.

use std::time::{Duration, Instant, SystemTime};

use doorbell_protocol::time::UnixMs;

/// How long anything may take on a busy machine with two cores. Nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A moment after which a test has failed.
#[derive(Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// [`PATIENCE`] from now.
    #[expect(clippy::disallowed_methods, reason = "this is the tests' clock file")]
    pub fn soon() -> Self {
        Self(Instant::now() + PATIENCE)
    }

    /// What is left until then.
    #[expect(clippy::disallowed_methods, reason = "this is the tests' clock file")]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// How long something takes, for the reader of a test's output.
#[derive(Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the tests' clock file")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    pub fn millis(self) -> u128 {
        self.0.elapsed().as_millis()
    }
}

/// The time of day, for tokens.
#[expect(clippy::disallowed_methods, reason = "this is the tests' clock file")]
pub fn now() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixMs::default().plus(since_epoch.expect("the tests' machine has a clock"))
}
