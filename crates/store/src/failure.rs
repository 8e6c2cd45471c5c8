//! How a store that must not go on reports that it has stopped.

use std::sync::Arc;

use tokio::sync::watch;

/// Why the store stopped. The process should exit: the next start reads the disk again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store has stopped: {0}")]
pub struct Failure(pub(crate) Arc<str>);

/// The threads' end of the channel. Once all threads have dropped it, the store has ended.
#[derive(Clone)]
pub(crate) struct FailureSender(Arc<watch::Sender<Option<Failure>>>);

/// The handles' end of the channel.
#[derive(Clone)]
pub(crate) struct FailureReceiver(watch::Receiver<Option<Failure>>);

pub(crate) fn channel() -> (FailureSender, FailureReceiver) {
    let (sender, receiver) = watch::channel(None);
    (FailureSender(Arc::new(sender)), FailureReceiver(receiver))
}

impl FailureSender {
    /// Declares the store failed. The first reason stays.
    pub(crate) fn declare(&self, reason: &str) {
        self.0.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                tracing::error!(reason, "the store has stopped");
                *failure = Some(Failure(reason.into()));
            }
            first
        });
    }

    /// Declares the store failed if this thread panics while the guard lives, and calls `then`.
    pub(crate) fn on_panic<F: FnMut()>(self, then: F) -> PanicGuard<F> {
        PanicGuard { failure: self, then }
    }
}

impl FailureReceiver {
    /// Completes when the store has failed, and never otherwise.
    pub(crate) async fn failed(mut self) -> Failure {
        if let Ok(failure) = self.0.wait_for(Option::is_some).await
            && let Some(failure) = failure.as_ref()
        {
            return failure.clone();
        }
        std::future::pending().await
    }

    /// Completes when the threads have ended.
    pub(crate) async fn ended(mut self) -> Result<(), Failure> {
        while self.0.changed().await.is_ok() {}
        self.0.borrow().clone().map_or(Ok(()), Err)
    }
}

/// See [`FailureSender::on_panic`].
pub(crate) struct PanicGuard<F: FnMut()> {
    failure: FailureSender,
    then: F,
}

impl<F: FnMut()> Drop for PanicGuard<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failure.declare("one of its threads panicked");
            (self.then)();
        }
    }
}
