//! The delivery rules for one user agent, as a state machine without IO (RFC 8030 s5 to s7).
//!
//! A [`Mailbox`] decides which message goes to which open stream of the agent, when it goes again, and when it is over.
//! It reads no clock and does no IO: a driver feeds each [`Input`] with the time and carries out the [`Effect`]s in
//! order. One file per family of events: `submit`, `connect`, `load`, `settle`, `refuse`, `second`, `unsubscribe`,
//! `deadline`; after each of them `deliver` offers what has become ready, and `watch` notifies the watchers.
//!
//! What a driver has to keep to:
//! - persists and erases reach the store in the order in which they were asked for, and their answers come back in
//!   that order for each message;
//! - every [`Effect::Persist`], [`Effect::Erase`] and [`Effect::Load`] is answered, also when the store fails;
//! - a mailbox is dropped only while [`Mailbox::is_idle`]; a crash may drop it at any time;
//! - a tick at [`Mailbox::next_deadline`], which changes with every event.
//!
//! ```
//! use doorbell_mailbox::{Effect, Entry, Input, SubscriberId, SubscriberSpec, Mailbox, Mode, Retry, Rules, Scope, RequestId};
//! use doorbell_protocol::headers::urgency::Urgency;
//! use doorbell_protocol::id::{MessageId, SubscriptionId};
//! use doorbell_protocol::receipt::Outcome;
//! use doorbell_protocol::time::UnixMs;
//!
//! let (subscriber, request, id, now) = (SubscriberId(1), RequestId(1), MessageId::from_raw(7), UnixMs::from_secs(1_800_000_000));
//! let spec = SubscriberSpec { scope: Scope::Agent, floor: None, mode: Mode::Hold, window: 10, retry: Retry::SameSubscriber };
//! let subscription = SubscriptionId::from_raw(1);
//! let entry = Entry { id, subscription, urgency: Urgency::Normal, expires_at: UnixMs::from_secs(1_800_003_600) };
//!
//! let mut mailbox = Mailbox::new(Rules::default());
//! let mut effects = Vec::new();
//! for input in [
//!     Input::Connect { subscriber, spec },
//!     Input::Loaded { entries: vec![], more: false },
//!     Input::Submit { request, entry, transient: false },
//!     Input::Stored { request, replaced: None },
//!     Input::Ack { request: None, id, outcome: Outcome::Delivered },
//! ] {
//!     mailbox.handle(input, now, &mut effects);
//! }
//! assert_eq!(effects, [
//!     Effect::Load { after: None },
//!     Effect::Persist { request },
//!     Effect::Accept { request },
//!     Effect::Send { subscriber, id, second: false },
//!     Effect::Release { id },
//!     Effect::Erase { id, request: None, outcome: Outcome::Delivered },
//! ]);
//! ```

mod connect;
mod deadline;
mod deliver;
mod effect;
#[cfg(test)]
mod harness;
mod input;
#[cfg(debug_assertions)]
mod invariants;
mod load;
mod mailbox;
mod message;
mod queue;
mod ready;
mod refuse;
mod rules;
mod second;
mod settle;
mod submit;
mod subscriber;
mod unsubscribe;
mod watch;

pub use effect::{CloseReason, Effect};
pub use input::{Entry, Input, Mode, RequestId, Retry, Scope, SubscriberId, SubscriberSpec};
pub use mailbox::Mailbox;
pub use rules::Rules;
