//! The facts of a running service: whether it is alive, whether it is ready, and its status.

use doorbell_protocol::time::UnixMs;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Origin;
use crate::status::Status;

/// Knows where the facts are. The admin listener and the control socket read them here.
pub(crate) struct Health {
    pub(crate) origin: Origin,
    pub(crate) clock: Clock,
    /// By the time of service.
    pub(crate) started: UnixMs,
    /// Turns true when the service drains.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Health {
    pub(crate) fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION"),
            origin: self.origin.as_str().to_owned(),
            uptime_secs: self.clock.served().since(self.started).as_secs(),
            is_draining: *self.stopping.borrow(),
        }
    }
}
