//! Role 1 of Web Push: the push service (RFC 8030), as a library.
//!
//! [`Service`] puts the parts together: `accept` takes connections, `transport` is what travels on them, `doors`
//! understand requests, the hub owns the mailboxes, the store remembers. `doorbell serve` is a thin command around it.

mod accept;
pub mod capability;
mod clock;
pub mod config;
mod doors;
mod hub;
mod service;
mod transport;

pub use accept::tls::TlsError;
pub use clock::Clock;
pub use service::{Failed, Service, StartError};
