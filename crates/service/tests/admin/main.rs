//! The admin listener: health, status and metrics, for those on the same machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod hostile;
mod operator;
mod readiness;
mod requests;
mod status;
#[path = "../support/mod.rs"]
mod support;
