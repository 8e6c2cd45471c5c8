//! VAPID (RFC 8292): how an application server identifies itself, and how a push service verifies that.

pub mod claims;
pub mod header;
pub mod sign;
pub mod verify;
