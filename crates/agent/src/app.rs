//! What the agent asks of the application that it receives messages for, and what it tells it.

use std::fmt::Display;
use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::error::Error;
use crate::message::{Discarded, Message};

/// The application behind the subscriptions: a service worker, a program, a person at a terminal.
pub trait App: Send {
    /// Why a message could not be handled.
    type Failure: Display + Send;

    /// Takes a message over. `Ok` means for good: the message is then acknowledged, and the service forgets it. After
    /// an error it comes again, [`crate::Limits::attempts_max`] times in all. `Break` ends [`crate::Agent::listen`]
    /// after this message was acknowledged. The future is dropped unfinished when the agent is told to stop; then the
    /// message comes again in the next run.
    fn message(&mut self, message: &Message) -> impl Future<Output = Result<ControlFlow<()>, Self::Failure>> + Send;

    /// Learns of everything else.
    fn event(&mut self, event: Event);
}

/// What happens beside messages.
#[derive(Debug)]
pub enum Event {
    /// The service can be reached: messages may come.
    Connected,
    /// It cannot.
    Disconnected {
        /// What happened.
        why: Error,
        /// When the next attempt follows.
        wait: Duration,
    },
    /// A message could not be opened and was acknowledged unread (WA-13).
    Discarded(Discarded),
    /// A push was refused: it broke off, or it was no message of this service. What is behind it, if anything, comes again.
    Refused(&'static str),
    /// The application failed to handle a message.
    Failed {
        /// What it said.
        why: String,
        /// Whether it had all its attempts: then the message was acknowledged (WA-14).
        given_up: bool,
    },
}

/// How listening ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to stop.
    Stopped,
    /// The application had enough.
    Enough,
    /// Everything that was stored has been handled.
    Drained,
    /// The service has ended subscriptions (UA-8030-7.3-1); they are no longer in the profile. Subscribe again, and
    /// tell the application servers.
    Gone,
}
