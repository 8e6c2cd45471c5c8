//! The one file of this crate that reads a clock.

use std::fmt;
use std::sync::Arc;

use doorbell_protocol::time::UnixMs;

/// Where a client takes the time of day from: the system, or a function that a test controls.
///
/// ```
/// use doorbell_sender::{Clock, UnixMs};
///
/// let stopped = Clock::from_fn(|| UnixMs::from_secs(1_800_000_000));
/// assert_eq!(stopped.now(), UnixMs::from_secs(1_800_000_000));
/// ```
#[derive(Clone, Default)]
pub struct Clock(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    System,
    Function(Arc<dyn Fn() -> UnixMs + Send + Sync>),
}

impl Clock {
    /// The clock of the system; the default.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows what `now` returns.
    pub fn from_fn(now: impl Fn() -> UnixMs + Send + Sync + 'static) -> Self {
        Self(Source::Function(Arc::new(now)))
    }

    /// A time that begins now and runs evenly, whatever happens to the time of day: for waits.
    #[cfg(feature = "client")]
    #[expect(clippy::disallowed_methods, reason = "this is the clock file")]
    pub(crate) fn steady(&self) -> Steady {
        match &self.0 {
            Source::System => Steady::Since(now(), std::time::Instant::now()),
            Source::Function(now) => Steady::Function(Arc::clone(now)),
        }
    }

    /// The time.
    pub fn now(&self) -> UnixMs {
        match &self.0 {
            Source::System => now(),
            Source::Function(now) => now(),
        }
    }
}

/// See [`Clock::steady`].
#[cfg(feature = "client")]
#[derive(Clone)]
pub(crate) enum Steady {
    Since(UnixMs, std::time::Instant),
    Function(Arc<dyn Fn() -> UnixMs + Send + Sync>),
}

#[cfg(feature = "client")]
impl Steady {
    /// The time.
    pub(crate) fn now(&self) -> UnixMs {
        match self {
            Self::Since(start, began) => start.plus(began.elapsed()),
            Self::Function(now) => now(),
        }
    }
}

#[cfg(feature = "client")]
impl fmt::Debug for Steady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steady")
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Clock(system)",
            Source::Function(_) => "Clock(function)",
        })
    }
}

/// The system's time of day: what the parts without IO take as `now`.
#[expect(clippy::disallowed_methods, reason = "this is the clock file")]
pub fn now() -> UnixMs {
    match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        Ok(since_epoch) => UnixMs::default().plus(since_epoch),
        // A system clock before 1970 shows the epoch: every token is then too early, and the push service reports it.
        Err(_) => UnixMs::default(),
    }
}
