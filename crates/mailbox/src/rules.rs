//! The times and bounds that a mailbox keeps to.

/// How long a mailbox waits and how often it tries. The same for every mailbox of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long a push may stay unacknowledged before its place in the subscriber's window is free again
    /// (the "reasonable time" of RFC 8030 s6.2).
    pub ack_timeout_ms: u32,
    /// How long a refused push waits before it is offered again. Doubles with each offer, up to `ack_timeout_ms`.
    pub decline_backoff_ms: u32,
    /// How often a message is offered before it waits for the subscriber to close: an agent that never acknowledges must
    /// not be sent the same message without end.
    pub offers_max: u8,
}

impl Default for Rules {
    fn default() -> Self {
        Self { ack_timeout_ms: 30_000, decline_backoff_ms: 1_000, offers_max: 5 }
    }
}
