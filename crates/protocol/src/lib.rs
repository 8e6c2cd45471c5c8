//! Web Push without IO: header fields, message encryption, VAPID, and the protocols of Firefox and Chromium.
//!
#![doc = include_str!("../README.md")]

pub mod base64url;
pub mod ece;
pub mod firefox;
pub mod headers;
pub mod id;
pub mod key;
pub mod mcs;
pub mod message;
pub mod problem;
pub mod proxy_header;
pub mod receipt;
pub mod time;
pub mod vapid;
pub mod websocket;

#[doc(inline)]
pub use ece::aes128gcm::Padding;
#[doc(inline)]
pub use ece::keys::{AgentKeys, AuthSecret};
#[doc(inline)]
pub use ece::{EceError, PLAINTEXT_MAX};
#[doc(inline)]
pub use headers::topic::Topic;
#[doc(inline)]
pub use headers::ttl::Ttl;
#[doc(inline)]
pub use headers::urgency::Urgency;
#[doc(inline)]
pub use key::{KeyError, PublicKey};
#[doc(inline)]
pub use receipt::Outcome;
#[doc(inline)]
pub use time::UnixMs;
#[doc(inline)]
pub use vapid::header::Credentials;
#[doc(inline)]
pub use vapid::sign::{SigningError, SigningKey};
#[doc(inline)]
pub use vapid::verify::VapidError;
