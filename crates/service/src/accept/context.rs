//! What every connection of a listener shares.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Limits;

/// What every connection needs to know.
pub(crate) struct Context<H> {
    /// What answers.
    pub(crate) handler: Arc<H>,
    /// Of these, the listener keeps the number of connections and the time-outs; another listener may have others.
    pub(crate) limits: Limits,
    /// For the Date of answers.
    pub(crate) clock: Clock,
    /// Turns true when the service drains.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl<H> Context<H> {
    /// Waits until the service drains.
    pub(super) async fn stopping(&self) {
        // An error means that the service is gone, which is the end of draining too.
        let _ = self.stopping.clone().wait_for(|stop| *stop).await;
    }
}
