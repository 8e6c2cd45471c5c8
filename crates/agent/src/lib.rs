//! The user agent of Web Push (RFC 8030) for programs that are not browsers: subscribe, receive, decrypt, acknowledge.
//!
//! [`Agent::open`] returns a handle and a driver. The handle ([`Agent`]) is cheap to clone; it subscribes, unsubscribes
//! and sets the urgency from any task. The [`Driver`] receives while it runs, and gives each message to an [`App`].
//!
//! ```no_run
//! use doorbell_agent::{Agent, Message, app_fn};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let (agent, mut driver) = Agent::open("profile", "https://push.example.org")?;
//!     let receiving = tokio::spawn(async move { driver.run(app_fn(print), std::future::pending()).await });
//!     if agent.subscriptions().is_empty() {
//!         let subscription = agent.subscribe(None).await?;
//!         println!("for the application server: {}", subscription.to_json());
//!     }
//!     receiving.await??;
//!     Ok(())
//! }
//!
//! async fn print(message: Message) -> std::io::Result<()> {
//!     println!("{}", String::from_utf8_lossy(&message.data.unwrap_or_default()));
//!     Ok(())
//! }
//! ```
//!
//! # What it keeps
//! The [`Profile`] holds the subscriptions with their keys, and what is still to be deleted at the service. A message
//! is on the disk as handed over before its DELETE is sent (RFC 8030 s6.2): a crash loses no message, and repeats at
//! most the one that the application was handling.
//!
//! # What it needs
//! A tokio runtime with IO and time enabled, and a service that offers HTTP/2 with server push over TLS. Where a proxy
//! lets no pushes pass, Doorbell's server-sent events take their place. Every queue has a bound, in [`Limits`].

mod agent;
mod app;
mod backoff;
mod calls;
mod clock;
mod driver;
mod error;
mod file;
mod http2;
mod inbox;
mod limits;
mod message;
mod profile;
mod random;
mod subscription;
mod task;
mod tls;

/// Compiles the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use agent::Agent;
pub use app::{App, AppFn, Event, app_fn};
pub use backoff::Backoff;
pub use bytes::Bytes;
pub use doorbell_protocol::ece::EceError;
pub use doorbell_protocol::headers::urgency::Urgency;
pub use doorbell_protocol::key::{KeyError, PublicKey};
pub use doorbell_protocol::message::ContentHeadersError;
pub use driver::{Driver, Outcome};
pub use error::{Error, ProfileError};
pub use http::StatusCode;
pub use limits::Limits;
pub use message::{Discarded, Message};
pub use profile::{Profile, Subscription};
pub use subscription::{PushKeys, PushSubscription};
pub use tls::Trust;
pub use url::Url;
