//! VAPID (RFC 8292): how an application server says who it is, and how that is checked.

pub mod claims;
pub mod header;
pub mod sign;
pub mod verify;
