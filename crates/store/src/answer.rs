//! The outcome of an operation that waits in a queue.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::engine::Written;
use crate::error::StoreError;
use crate::model::{Appended, Erased, IdleRemoved, Removed, Swept};
use crate::queue::PushError;

/// The outcome of a queued operation. Dropping it does not cancel the operation.
#[must_use = "an operation may fail"]
pub struct Answer<T>(Source<T>);

enum Source<T> {
    Queued {
        receiver: oneshot::Receiver<Result<T, StoreError>>,
        /// The error if the store's thread ends without an answer.
        lost: StoreError,
    },
    Refused(StoreError),
    /// Of several operations, all of which are queued.
    Joined(Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>),
}

impl<T: Send + 'static> Answer<T> {
    /// What `receiver` gets, if the operation could be queued.
    pub(crate) fn queued(
        pushed: Result<(), PushError>,
        receiver: oneshot::Receiver<Result<T, StoreError>>,
        lost: StoreError,
    ) -> Self {
        Self(match pushed {
            Ok(()) => Source::Queued { receiver, lost },
            Err(error) => Source::Refused(error.into()),
        })
    }

    pub(crate) fn joined(outcome: impl Future<Output = Result<T, StoreError>> + Send + 'static) -> Self {
        Self(Source::Joined(Box::pin(outcome)))
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            // The thread dropped the sender without an answer: it has ended.
            Source::Queued { receiver, lost } => {
                let lost = *lost;
                Pin::new(receiver).poll(cx).map(|sent| match sent {
                    Ok(outcome) => outcome,
                    Err(_) => Err(lost),
                })
            }
            Source::Refused(error) => Poll::Ready(Err(*error)),
            Source::Joined(outcome) => outcome.as_mut().poll(cx),
        }
    }
}

impl From<PushError> for StoreError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Full => Self::Overloaded,
            PushError::Closed => Self::Unavailable,
        }
    }
}

/// The content of each kind of answer; `None` for one of another kind.
impl Written {
    pub(crate) fn created(self) -> Option<()> {
        matches!(self, Self::Created).then_some(())
    }

    pub(crate) fn appended(self) -> Option<Appended> {
        if let Self::Appended(appended) = self { Some(appended) } else { None }
    }

    pub(crate) fn erased(self) -> Option<Erased> {
        if let Self::Erased(erased) = self { Some(erased) } else { None }
    }

    pub(crate) fn removed(self) -> Option<Removed> {
        if let Self::Removed(removed) = self { Some(removed) } else { None }
    }

    pub(crate) fn touched(self) -> Option<()> {
        matches!(self, Self::Touched).then_some(())
    }

    pub(crate) fn noted(self) -> Option<()> {
        matches!(self, Self::Noted).then_some(())
    }

    pub(crate) fn idle_removed(self) -> Option<IdleRemoved> {
        if let Self::IdleRemoved(removed) = self { Some(removed) } else { None }
    }

    pub(crate) fn swept(self) -> Option<Swept> {
        if let Self::Swept(swept) = self { Some(swept) } else { None }
    }
}
