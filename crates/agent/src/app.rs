//! The application that an agent receives messages for: what it must implement, and what is reported to it.

use std::fmt::Display;
use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use url::Url;

use crate::error::Error;
use crate::message::{Discarded, Message};

/// The application behind the subscriptions: a service worker, a program, a person at a terminal. [`app_fn`] makes one
/// of an async function.
pub trait App: Send {
    /// Why a message could not be handled.
    type Failure: Display + Send;

    /// Takes a message over. `Ok` is final: the message is then acknowledged, and the service deletes it. After an
    /// error the message comes again, [`Limits::attempts_max`](crate::Limits::attempts_max) times in all; then the service
    /// deletes it, and its sender gets the receipt `refused`. `Break` ends
    /// the run with [`Outcome::Enough`](crate::Outcome::Enough) after this message was acknowledged. Messages come one
    /// after the other: until this returns, no other one is handed over.
    ///
    /// The future is dropped unfinished when the run is stopped; then the message comes again in the next run.
    fn message(&mut self, message: &Message) -> impl Future<Output = Result<ControlFlow<()>, Self::Failure>> + Send;

    /// Receives a report of everything else.
    fn event(&mut self, event: Event);

    /// The service has ended the subscriptions with these endpoints (RFC 8030 s7.3): it answered 404 or 410, in its own
    /// form. A 404 of a proxy ends nothing. That form is Doorbell's (JSON with `errno`): a push service of another form ends
    /// no subscription, and is reported as [`Event::Disconnected`] with [`Error::Stranger`] instead. `Break` ends the run with [`Outcome::Gone`](crate::Outcome::Gone).
    /// `Continue` drops them from the profile, and keeps receiving for the others and for those that a handle adds.
    fn ended(&mut self, endpoints: &[Url]) -> ControlFlow<()> {
        let _ = endpoints;
        ControlFlow::Break(())
    }
}

/// What happens besides messages.
#[derive(Debug)]
pub enum Event {
    /// The service can be reached: messages may come.
    Connected,
    /// Server pushes cannot pass on the way to the service: messages come as events (server-sent events). Pushes are
    /// tried again after [`Limits::pushes_again`](crate::Limits::pushes_again).
    WithoutPushes,
    /// The service cannot be reached.
    Disconnected {
        /// What happened.
        why: Error,
        /// When the next attempt follows.
        wait: Duration,
    },
    /// A message could not be opened and was acknowledged unread: it would come again forever.
    Discarded(Discarded),
    /// A push was refused: it broke off, or it was no message of this service. If there is a message behind it, the
    /// service pushes it again.
    Refused(&'static str),
    /// The application failed to handle a message.
    Failed {
        /// The failure that it returned.
        why: String,
        /// Whether that was the last attempt: then the message is acknowledged as refused, and its sender learns that.
        given_up: bool,
    },
}

impl<A: App> App for &mut A {
    type Failure = A::Failure;

    fn message(&mut self, message: &Message) -> impl Future<Output = Result<ControlFlow<()>, A::Failure>> + Send {
        (**self).message(message)
    }

    fn event(&mut self, event: Event) {
        (**self).event(event);
    }

    fn ended(&mut self, endpoints: &[Url]) -> ControlFlow<()> {
        (**self).ended(endpoints)
    }
}

/// An application that gives each message to an async function and logs the events.
///
/// ```
/// # use doorbell_agent::{Message, app_fn};
/// async fn print(message: Message) -> std::io::Result<()> {
///     println!("{:?}", message.data);
///     Ok(())
/// }
/// let app = app_fn(print);
/// ```
pub fn app_fn<F, R, E>(handle: F) -> AppFn<F>
where
    F: FnMut(Message) -> R + Send,
    R: Future<Output = Result<(), E>> + Send,
    E: Display + Send,
{
    AppFn(handle)
}

/// What [`app_fn`] returns.
#[derive(Clone, Copy, Debug)]
pub struct AppFn<F>(F);

impl<F, R, E> App for AppFn<F>
where
    F: FnMut(Message) -> R + Send,
    R: Future<Output = Result<(), E>> + Send,
    E: Display + Send,
{
    type Failure = E;

    async fn message(&mut self, message: &Message) -> Result<ControlFlow<()>, E> {
        let handled = (self.0)(message.clone());
        handled.await.map(ControlFlow::Continue)
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected => tracing::info!("connected to the push service"),
            Event::WithoutPushes => tracing::info!("pushes cannot pass; messages come as events"),
            Event::Disconnected { why, wait } => tracing::warn!(%why, ?wait, "disconnected from the push service"),
            Event::Discarded(why) => tracing::warn!(%why, "a message was discarded"),
            Event::Refused(why) => tracing::warn!(why, "a push was refused"),
            Event::Failed { why, given_up } => tracing::warn!(why, given_up, "a message was not handled"),
        }
    }
}
