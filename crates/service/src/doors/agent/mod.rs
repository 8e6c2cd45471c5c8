//! The user agents' doors, one folder each: how an agent subscribes, receives and acknowledges.

pub(super) mod chromium;
mod drain;
mod events;
pub(super) mod firefox;
mod http2;
mod names;

pub(super) use drain::Drains;
