//! The one file of this crate that reads a clock.

use doorbell_protocol::time::UnixMs;

/// How long something takes.
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock file")]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Milliseconds since the start.
    pub(crate) fn millis(&self) -> u128 {
        self.0.elapsed().as_millis()
    }
}

/// The time of day. The rules take it as an argument.
#[expect(clippy::disallowed_methods, reason = "this is the clock file")]
pub(crate) fn now() -> UnixMs {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock that was never set, before 1970, counts as 1970.
    UnixMs::default().plus(since_epoch.unwrap_or_default())
}
