//! The user agents' doors, one folder each: how an agent subscribes, receives and acknowledges.

mod http2;
