//! The header fields of RFC 8030, each parsed into a type at the door.

pub mod urgency;
