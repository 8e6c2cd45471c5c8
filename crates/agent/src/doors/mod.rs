//! The ways to reach a push service, one folder each, with the names that the service gives its own doors.

pub(crate) mod http2;
