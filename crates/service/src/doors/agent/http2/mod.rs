//! The standard's own door: RFC 8030 over HTTP/2 with server push.

mod answer;
mod monitor;
mod remove;
mod subscribe;
