//! What every connection of a listener shares.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::{Config, Live};

/// What every connection needs to know.
pub(crate) struct Context<H> {
    /// The handler of the listener's requests.
    pub(crate) handler: Arc<H>,
    /// The listener uses the number of connections, the time-outs, and which connections count for their source; another
    /// listener may have its own.
    pub(crate) config: Arc<Live>,
    /// The clock of the Date field in answers.
    pub(crate) clock: Clock,
    /// Turns true when the service drains.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl<H> Context<H> {
    /// The present configuration.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.get()
    }

    /// Waits until the service drains.
    pub(crate) async fn stopping(&self) {
        // An error means that the service is gone: draining ends too.
        let _ = self.stopping.clone().wait_for(|stop| *stop).await;
    }
}
