//! The door of Chromium, octet by octet, by a client that knows octets only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod delivery;
mod devices;
mod ends;
mod hostile;
#[path = "../support/mod.rs"]
mod support;
mod tls;
