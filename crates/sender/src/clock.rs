//! The one file of this crate that reads a clock.

use doorbell_protocol::time::UnixMs;

/// The time of day: what the sans-IO parts of this crate take as `now`.
#[allow(clippy::disallowed_methods)]
pub fn now() -> UnixMs {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixMs::default().plus(since_epoch.unwrap_or_default())
}
