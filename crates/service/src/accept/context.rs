//! What every connection of a listener shares.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::{Limits, Sources};

/// What every connection needs to know.
pub(crate) struct Context<H> {
    /// The handler of the listener's requests.
    pub(crate) handler: Arc<H>,
    /// The listener uses the number of connections and the time-outs; another listener may have its own.
    pub(crate) limits: Limits,
    /// Which connections count for their source.
    pub(crate) sources: Sources,
    /// The clock of the Date field in answers.
    pub(crate) clock: Clock,
    /// Turns true when the service drains.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl<H> Context<H> {
    /// Waits until the service drains.
    pub(crate) async fn stopping(&self) {
        // An error means that the service is gone: draining ends too.
        let _ = self.stopping.clone().wait_for(|stop| *stop).await;
    }
}
