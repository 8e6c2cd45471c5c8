//! Role 1 of Web Push: the push service (RFC 8030), as a library.
//!
//! [`Service`] puts the parts together: `listen` takes connections, `doors` understand requests, the hub owns the
//! mailboxes, the store remembers. `doorbell serve` is a thin command around it.

pub mod capability;
mod clock;
pub mod config;
mod doors;
mod hub;
mod listen;
mod service;

pub use clock::Clock;
pub use listen::tls::TlsError;
pub use service::{Failed, Service, StartError};
