//! RFC 8030 over HTTP/2, where the service pushes each message as a response to a GET that the agent never sent.

pub(crate) mod acknowledge;
pub(crate) mod answer;
pub(crate) mod connection;
mod events;
pub(crate) mod held_get;
pub(crate) mod monitor;
pub(crate) mod subscribe;
