//! Role 1 of Web Push: the push service (RFC 8030), as a library.
//!
//! [`Service`] connects the parts. `accept` takes connections, `transport` carries requests and pushes, `doors` handle
//! requests, the hub owns the mailboxes, and the store keeps the messages. `doorbell serve` is a thin command around
//! it.

mod accept;
pub mod capability;
mod clock;
pub mod config;
mod doors;
mod hub;
mod locked;
mod seldom;
mod service;
mod state_dir;
mod transport;
mod wall;

pub use accept::tls::TlsError;
pub use clock::Clock;
pub use service::{Failed, Service, StartError};
pub use state_dir::{StateDirError, User};
