//! Sends Web Push messages from an application server (RFC 8030, RFC 8291, RFC 8292).
//!
#![cfg_attr(feature = "client", doc = include_str!("../README.md"))]
//!
//! # Where to find what
//!
//! The types on this page are enough to send messages. The modules hold the rest, and everything in them that decides is
//! free of IO, with the time as an argument: [`request`] builds, [`answer`] reads, [`retry`] waits, [`token`] signs.
//! Only `client` and `receipts::follower` use the network, and only with the feature `client`.

pub mod answer;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod endpoint;
pub mod error;
pub mod explanation;
#[cfg(feature = "client")]
mod guard;
pub mod keyring;
mod lock;
pub mod network;
pub mod origins;
#[cfg(feature = "client")]
pub mod proxy;
pub mod receipts;
pub mod request;
pub mod retry;
pub mod subject;
pub mod subscription;
#[cfg(feature = "client")]
mod tls;
pub mod token;
pub mod vendor;

pub use bytes;
pub use http;

#[doc(inline)]
pub use answer::{Accepted, Answer};
#[doc(inline)]
#[cfg(feature = "client")]
pub use client::{Client, ClientConfig, Reply, Wait};
#[doc(inline)]
pub use clock::Clock;
#[doc(inline)]
pub use doorbell_protocol::{
    AuthSecret, Outcome, Padding, PublicKey, SigningError, SigningKey, Topic, Ttl, UnixMs, Urgency,
};
#[doc(inline)]
pub use endpoint::{Endpoint, EndpointError};
#[doc(inline)]
pub use error::{ClientError, Distrust, SendError};
#[doc(inline)]
pub use explanation::{Explanation, Source};
#[doc(inline)]
pub use keyring::Keyring;
#[doc(inline)]
pub use network::{AddressPolicy, Network};
#[doc(inline)]
pub use origins::OriginMap;
#[doc(inline)]
#[cfg(feature = "client")]
pub use proxy::{Proxy, ProxyError};
#[doc(inline)]
pub use receipts::book::ReceiptBook;
#[doc(inline)]
#[cfg(feature = "client")]
pub use receipts::follower::{FollowError, FollowPolicy, Follower, ReceiptEvent};
#[doc(inline)]
pub use receipts::receipt::Receipt;
#[doc(inline)]
pub use request::{Message, Options, ReceiptWish, RequestError};
#[doc(inline)]
pub use retry::{Retry, RetryPolicy};
#[doc(inline)]
pub use subject::{Subject, SubjectError};
#[doc(inline)]
pub use subscription::{Subscription, SubscriptionError};
#[doc(inline)]
pub use token::Signer;
#[doc(inline)]
pub use vendor::Vendor;
