//! Role 2 of Web Push: the user agent: subscribe, receive, decrypt, acknowledge.
//!
//! [`Agent`] speaks RFC 8030 over HTTP/2 (`doors/http2`), keeps its [`Profile`] over restarts, and hands messages to
//! an [`App`]. The rules are pure and stand by themselves: what becomes of a message in `inbox.rs`, how it is opened in
//! `message.rs`, how long to wait in `backoff.rs`.

mod agent;
mod app;
mod backoff;
mod clock;
mod doors;
mod error;
mod file;
mod inbox;
mod limits;
mod listen;
mod message;
mod profile;
mod random;
mod subscription;
mod tls;

pub use agent::{Agent, Listening};
pub use app::{App, Event, Outcome};
pub use backoff::Backoff;
pub use error::{Error, ProfileError};
pub use limits::Limits;
pub use message::{Discarded, Message};
pub use profile::{Profile, Subscription};
pub use subscription::{PushKeys, PushSubscription};
pub use tls::Trust;
