//! The user agents' doors, one folder each: how an agent subscribes, receives and acknowledges.

mod events;
mod http2;
mod push_links;
