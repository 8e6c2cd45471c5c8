//! RFC 8030 as it stands: HTTP/2, where the service pushes each message as a response to a GET that nobody sent.

pub(crate) mod acknowledge;
pub(crate) mod answer;
pub(crate) mod connection;
pub(crate) mod link;
pub(crate) mod monitor;
pub(crate) mod subscribe;
