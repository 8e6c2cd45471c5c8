//! Requests to look for another certificate now.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use crate::locked::Locked;

/// Shared by those who ask and the task that looks.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    asked: Arc<Notify>,
    /// Those who wait for the end of the next look.
    waiting: Locked<Vec<oneshot::Sender<()>>>,
}

impl Looks {
    /// Asks for a look, and waits for the end of none.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Asks for a look, and waits for the end of one that began later. A source that is asked over the network does not
    /// report the end.
    pub(crate) async fn look(&self) {
        let (sender, ended) = oneshot::channel();
        self.waiting.lock().push(sender);
        self.ask();
        // An error means that the task is gone, and that nothing will be looked at.
        ended.await.ok();
    }

    /// Waits until a look is asked for.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// The same for a task of its own.
    pub(super) fn asked_of(&self) -> Arc<Notify> {
        self.asked.clone()
    }

    /// A look begins: those who wait for its end.
    pub(super) fn begin(&self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut self.waiting.lock())
    }
}
