//! The edge of the service: the rules of HTTP for every resource, pages of other origins, clients that half close.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cors;
mod half_close;
mod methods;
mod paths;
mod rejected;
#[path = "../support/mod.rs"]
mod support;
