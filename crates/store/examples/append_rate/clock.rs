//! The one place of the example that reads a clock.
#![allow(clippy::disallowed_methods, reason = "this is the clock file")]

use std::time::Instant;

/// The present.
pub(crate) fn now() -> Instant {
    Instant::now()
}
