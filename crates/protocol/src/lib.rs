//! The words that the three roles of Web Push share: ids, times, headers, encryption, signatures and the error body.
//!
//! Nothing here does IO or reads a clock: time and randomness are arguments (invariant 3 of ARCHITECTURE.md).

pub mod headers;
pub mod id;
pub mod message;
pub mod time;
