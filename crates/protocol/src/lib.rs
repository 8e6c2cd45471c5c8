//! The words that the three roles of Web Push share: ids, times, headers, encryption, signatures and the error body.
//!
//! Nothing here does IO or reads a clock: time and randomness are arguments (invariant 3 of ARCHITECTURE.md), except
//! where a key or a salt must be unpredictable; those come from aws-lc-rs.

pub mod base64url;
pub mod ece;
pub mod firefox;
pub mod headers;
pub mod id;
pub mod key;
pub mod mcs;
pub mod message;
pub mod problem;
pub mod receipt;
pub mod time;
pub mod vapid;
pub mod websocket;
