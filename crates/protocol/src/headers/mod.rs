//! The header fields of RFC 8030 and of the encryption, each parsed into a type at the door.

pub mod coding;
pub mod link;
pub mod params;
pub mod prefer;
pub mod topic;
pub mod ttl;
pub mod urgency;
