//! The user agents' doors, one folder each: an agent subscribes, receives and acknowledges here.

mod channel_cache;
pub(super) mod chromium;
mod events;
pub(super) mod firefox;
mod http2;
mod shutdown;
pub(super) mod wake;

pub(super) use shutdown::ShutdownRegistry;
