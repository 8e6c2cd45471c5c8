//! The one file of this crate that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use doorbell_protocol::time::UnixMs;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The time of day: for what is kept, and for what pages show.
    pub(crate) wall: UnixMs,
    /// On a clock that no one sets: for rates.
    pub(crate) instant: Instant,
}

/// How long something takes.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock file")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    pub(crate) fn millis(&self) -> u128 {
        self.0.elapsed().as_millis()
    }
}

/// The time of day. The rules take it as an argument.
#[expect(clippy::disallowed_methods, reason = "this is the clock file")]
pub(crate) fn now() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock that was never set, before 1970, counts as 1970.
    UnixMs::default().plus(since_epoch.unwrap_or_default())
}

/// The moment now.
#[allow(clippy::disallowed_methods, reason = "this is the clock file")]
pub(crate) fn moment() -> Moment {
    Moment { wall: now(), instant: Instant::now() }
}
