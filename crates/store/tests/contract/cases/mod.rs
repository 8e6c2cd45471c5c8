//! The suite that runs on every engine.

pub(crate) mod agents;
pub(crate) mod expiry;
pub(crate) mod messages;
pub(crate) mod quota;
pub(crate) mod topics;
