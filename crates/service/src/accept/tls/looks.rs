//! Requests to look for another certificate now.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use crate::locked::Locked;

/// Shared by those who ask and the task that looks.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    asked: Arc<Notify>,
    waiting: Locked<Waiting>,
}

/// Those who wait for the end of the next look.
#[derive(Debug, Default)]
struct Waiting {
    senders: Vec<oneshot::Sender<()>>,
    /// The task that looks is gone.
    is_closed: bool,
}

/// The task that looks is gone, and nothing is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// Held by the task that looks.
#[derive(Debug)]
pub(super) struct Looking(Arc<Looks>);

impl Looks {
    /// Asks for a look, and waits for the end of none.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Asks for a look, and waits for the end of one that began later. A source that is asked over the network does not
    /// report the end.
    pub(crate) async fn look(&self) -> Result<(), Gone> {
        let (sender, ended) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.is_closed {
                return Err(Gone);
            }
            waiting.senders.push(sender);
        }
        self.ask();
        ended.await.map_err(|_| Gone)
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
        std::mem::take(&mut self.waiting.lock().senders)
    }

    /// For the task that looks: when it drops this, all waits end.
    pub(super) fn looking(self: &Arc<Self>) -> Looking {
        Looking(self.clone())
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        *self.0.waiting.lock() = Waiting { senders: Vec::new(), is_closed: true };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_look_is_answered_when_the_task_that_looks_ends() {
        let looks = Arc::new(Looks::default());
        let looking = looks.looking();
        let waits = tokio::spawn({
            let looks = looks.clone();
            async move { looks.look().await }
        });
        looks.asked().await;
        drop(looking);
        assert_eq!(waits.await.unwrap(), Err(Gone));
        assert_eq!(looks.look().await, Err(Gone));
    }
}
