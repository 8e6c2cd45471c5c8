//! Role 3 of Web Push: the application server. Encrypts, signs, sends, and knows what each answer means.
//!
//! Everything that decides is sans-IO: [`request`] builds, [`answer`] reads, [`retry`] waits, [`token`] signs, each
//! with the time as an argument. [`client`] sends, [`receipts`] hears what became of it: no other place touches the network.

pub mod answer;
pub mod client;
pub mod clock;
pub mod endpoint;
pub mod error;
pub mod explanation;
mod guard;
pub mod keyring;
pub mod network;
pub mod origins;
pub mod receipts;
pub mod request;
pub mod retry;
pub mod subject;
pub mod subscription;
mod tls;
pub mod token;
