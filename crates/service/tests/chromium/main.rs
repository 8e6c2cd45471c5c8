//! The door of Chromium, byte by byte, with a client that works on bytes only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod delivery;
mod devices;
mod ends;
mod hostile;
#[path = "../support/mod.rs"]
mod support;
mod tls;
