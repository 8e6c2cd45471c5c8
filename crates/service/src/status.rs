//! The status of a running service, for its operator. It identifies no user: it contains no URL of a client, no key and
//! no origin of a site.

use serde::Serialize;

/// What a service is and does at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The version of the program.
    pub version: &'static str,
    /// The origin that its URLs begin with.
    pub origin: String,
    /// How long it has run since its start, without the time in which the machine slept, in seconds.
    pub uptime_secs: u64,
    /// Whether it is stopping.
    pub is_draining: bool,
}
