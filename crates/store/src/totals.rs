//! What the whole store holds: the arithmetic of its bounds, which both engines share.

use crate::error::StoreError;
use crate::limits::{Limits, MESSAGE_OVERHEAD_BYTES, RECEIPT_BYTES};

/// Counts of everything. They are kept with each change, because counting rows takes too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) agents: u64,
    pub(crate) unused_agents: u64,
    pub(crate) subscriptions: u64,
    pub(crate) messages: u64,
    /// Bytes of bodies and content headers.
    pub(crate) message_bytes: u64,
    pub(crate) receipts: u64,
    pub(crate) receipt_subscriptions: u64,
    pub(crate) unused_receipt_subscriptions: u64,
}

impl Totals {
    /// Refuses a new agent that would be one too many. An agent is created for a subscription: without room for that it
    /// would stay empty.
    pub(crate) fn check_agent(&self, limits: &Limits) -> Result<(), StoreError> {
        self.check_subscription(limits)?;
        within(self.agents, limits.agents_max)?;
        within(self.unused_agents, limits.unused_agents_max)
    }

    pub(crate) fn check_subscription(&self, limits: &Limits) -> Result<(), StoreError> {
        within(self.subscriptions, limits.subscriptions_max)
    }

    pub(crate) fn check_receipt_subscription(&self, limits: &Limits) -> Result<(), StoreError> {
        within(self.receipt_subscriptions, limits.receipt_subscriptions_max)?;
        within(self.unused_receipt_subscriptions, limits.unused_receipt_subscriptions_max)
    }

    /// Refuses a message of `size` bytes, and its receipt, that would be too much.
    pub(crate) fn check_message(&self, limits: &Limits, size: u32) -> Result<(), StoreError> {
        let after = self.bytes().saturating_add(u64::from(size)).saturating_add(MESSAGE_OVERHEAD_BYTES);
        if after > limits.bytes_max { Err(StoreError::StoreFull) } else { Ok(()) }
    }

    /// Refuses one more message that is not stored and wants a receipt.
    pub(crate) fn check_receipt(&self, limits: &Limits) -> Result<(), StoreError> {
        if self.bytes().saturating_add(RECEIPT_BYTES) > limits.bytes_max { Err(StoreError::StoreFull) } else { Ok(()) }
    }

    /// Whether agents that were never used have to make room.
    pub(crate) fn agents_crowd(&self, limits: &Limits) -> bool {
        is_nearly(self.unused_agents, limits.unused_agents_max) || is_nearly(self.agents, limits.agents_max)
    }

    /// Whether receipt subscriptions that were never used have to make room.
    pub(crate) fn receipt_subscriptions_crowd(&self, limits: &Limits) -> bool {
        is_nearly(self.unused_receipt_subscriptions, limits.unused_receipt_subscriptions_max)
            || is_nearly(self.receipt_subscriptions, limits.receipt_subscriptions_max)
    }

    /// Everything that is stored, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.message_bytes + self.messages * MESSAGE_OVERHEAD_BYTES + self.receipts * RECEIPT_BYTES
    }

    pub(crate) fn add_message(&mut self, size: u32) {
        self.messages += 1;
        self.message_bytes += u64::from(size);
    }

    pub(crate) fn remove_message(&mut self, size: u32) {
        lower(&mut self.messages, 1);
        lower(&mut self.message_bytes, u64::from(size));
    }

    pub(crate) fn remove_agent(&mut self, was_used: bool) {
        lower(&mut self.agents, 1);
        lower(&mut self.unused_agents, u64::from(!was_used));
    }

    pub(crate) fn remove_receipt_subscription(&mut self, was_used: bool) {
        lower(&mut self.receipt_subscriptions, 1);
        lower(&mut self.unused_receipt_subscriptions, u64::from(!was_used));
    }
}

/// Subtracts what was counted before.
pub(crate) fn lower(count: &mut u64, by: u64) {
    debug_assert!(*count >= by, "what is removed was counted");
    *count = count.saturating_sub(by);
}

fn within(count: u64, max: u32) -> Result<(), StoreError> {
    if count >= u64::from(max) { Err(StoreError::StoreFull) } else { Ok(()) }
}

/// Seven eighths: the sweep that makes room comes before a client is refused.
fn is_nearly(count: u64, max: u32) -> bool {
    count >= u64::from(max) - u64::from(max) / 8
}
