//! The delivery rules for one user agent, as a state machine without IO (RFC 8030 s5 to s7).
//!
//! A [`Mailbox`] decides which message goes to which open stream of the agent, when it goes again, and when it is over.
//! It reads no clock and does no IO: a driver feeds each [`Input`] with the time and carries out the [`Effect`]s in
//! order. One file per family of events: `submit`, `connect`, `load`, `settle`, `refuse`, `unsubscribe`, `deadline`;
//! after each of them `deliver` offers what has become ready.

mod connect;
mod deadline;
mod deliver;
mod effect;
#[cfg(test)]
mod harness;
mod input;
mod link;
mod load;
mod mailbox;
mod message;
mod queue;
mod ready;
mod refuse;
mod rules;
mod settle;
mod submit;
mod unsubscribe;

pub use effect::{CloseReason, Effect};
pub use input::{Entry, Input, LinkId, LinkSpec, Mode, Retry, Scope, Ticket};
pub use mailbox::Mailbox;
pub use rules::Rules;
