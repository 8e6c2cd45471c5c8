//! The clocks of the generator. Times are nanoseconds of the system's monotonic clock, which is the same for every process
//! of this machine, so that a time can travel inside a message.

use doorbell_protocol::time::UnixMs;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds in a second.
pub(super) const SECOND: u64 = 1_000_000_000;

/// Now, on the monotonic clock.
pub(super) fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// The time of day, for tokens.
pub(super) fn unix_now() -> UnixMs {
    UnixMs::from_secs(clock_gettime(ClockId::Realtime).tv_sec)
}

/// How long the calling thread has run on a core.
pub(super) fn thread_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// `nanoseconds` in seconds.
pub(super) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / SECOND as f64
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec.unsigned_abs() * SECOND + time.tv_nsec.unsigned_abs()
}
