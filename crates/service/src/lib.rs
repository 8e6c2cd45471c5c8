//! Role 1 of Web Push: the push service (RFC 8030), as a library.
//!
//! [`Service`] connects the parts. `accept` takes connections, `transport` carries requests and pushes, `doors` handle
//! requests, the hub owns the mailboxes, and the store keeps the messages. `doorbell serve` is a thin command around
//! it.

mod accept;
mod admin;
pub mod capability;
mod clock;
pub mod config;
mod counts;
mod doors;
mod health;
mod hub;
mod locked;
mod metrics;
pub mod seldom;
mod service;
mod state_dir;
pub mod status;
mod storage;
mod transport;
mod wall;

pub use accept::BindError;
pub use accept::tls::TlsError;
pub use admin::AdminError;
pub use clock::Clock;
pub use service::{CONTROL_SOCKET, CertificateError, Failed, Service, StartError};
pub use state_dir::{StateDirError, User, prepare as prepare_state_dir};
pub use status::Status;
pub use storage::{StorageError, cluster_of};
#[cfg(feature = "postgres")]
pub use storage::{bind_to_cluster, cluster_for, release_from_cluster};
