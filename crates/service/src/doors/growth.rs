//! How many agents and receipt subscriptions may be created per minute by all clients together. Creating one needs no
//! permission, and none of them can be charged for it.

use doorbell_protocol::time::UnixMs;

use super::buckets::{Table, TooFast};

/// The buckets of the whole service.
pub(super) struct Growth {
    agents: Table<()>,
    receipt_subscriptions: Table<()>,
}

impl Growth {
    /// `0` removes a limit.
    pub(super) fn new(agents_per_minute: u32, receipt_subscriptions_per_minute: u32) -> Self {
        Self {
            agents: Table::new("the service", agents_per_minute),
            receipt_subscriptions: Table::new("the service", receipt_subscriptions_per_minute),
        }
    }

    /// Takes one new agent's worth.
    pub(super) fn admit_agent(&self, now: UnixMs) -> Result<(), TooFast> {
        self.agents.take((), now)
    }

    /// Takes one new receipt subscription's worth.
    pub(super) fn admit_receipt_subscription(&self, now: UnixMs) -> Result<(), TooFast> {
        self.receipt_subscriptions.take((), now)
    }
}
