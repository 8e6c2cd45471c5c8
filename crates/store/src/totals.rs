//! What the whole store holds: the arithmetic of its bounds, which both engines share.

use crate::error::StoreError;
use crate::figures::{Contents, Ended, Resolved};
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
        within(self.agents + limits.elsewhere.agents, limits.agents_max)?;
        within(self.unused_agents + limits.elsewhere.unused_agents, limits.unused_agents_max)
    }

    pub(crate) fn check_subscription(&self, limits: &Limits) -> Result<(), StoreError> {
        within(self.subscriptions + limits.elsewhere.subscriptions, limits.subscriptions_max)
    }

    pub(crate) fn check_receipt_subscription(&self, limits: &Limits) -> Result<(), StoreError> {
        self.check_joining(limits)?;
        let unused = self.unused_receipt_subscriptions + limits.elsewhere.unused_receipt_subscriptions;
        within(unused, limits.unused_receipt_subscriptions_max)
    }

    /// The same for one that has its home in another cell.
    pub(crate) fn check_joining(&self, limits: &Limits) -> Result<(), StoreError> {
        let all = self.receipt_subscriptions + limits.elsewhere.receipt_subscriptions;
        within(all, limits.receipt_subscriptions_max)
    }

    /// Refuses a message of `size` bytes, and its receipt, that would be too much.
    pub(crate) fn check_message(&self, limits: &Limits, size: u32) -> Result<(), StoreError> {
        let before = self.bytes().saturating_add(limits.elsewhere.bytes);
        let after = before.saturating_add(u64::from(size)).saturating_add(MESSAGE_OVERHEAD_BYTES);
        if after > limits.bytes_max { Err(StoreError::StoreFull) } else { Ok(()) }
    }

    /// Refuses one more message that is not stored and wants a receipt.
    pub(crate) fn check_receipt(&self, limits: &Limits) -> Result<(), StoreError> {
        let before = self.bytes().saturating_add(limits.elsewhere.bytes);
        if before.saturating_add(RECEIPT_BYTES) > limits.bytes_max { Err(StoreError::StoreFull) } else { Ok(()) }
    }

    /// The bounds that are reached, by the names of the service's settings.
    pub(crate) fn reached(&self, limits: &Limits) -> Vec<&'static str> {
        let elsewhere = &limits.elsewhere;
        let unused_receipt_subscriptions = self.unused_receipt_subscriptions + elsewhere.unused_receipt_subscriptions;
        let receipt_subscriptions = self.receipt_subscriptions + elsewhere.receipt_subscriptions;
        let unused_receipt_subscriptions_max = limits.unused_receipt_subscriptions_max;
        let counts = [
            ("agents_max", self.agents + elsewhere.agents, limits.agents_max),
            ("unused_agents_max", self.unused_agents + elsewhere.unused_agents, limits.unused_agents_max),
            ("subscriptions_max", self.subscriptions + elsewhere.subscriptions, limits.subscriptions_max),
            ("receipt_subscriptions_max", receipt_subscriptions, limits.receipt_subscriptions_max),
            ("unused_receipt_subscriptions_max", unused_receipt_subscriptions, unused_receipt_subscriptions_max),
        ];
        let reached = counts.into_iter().filter(|(_, count, max)| within(*count, *max).is_err()).map(|(name, ..)| name);
        reached.chain(self.check_message(limits, 0).is_err().then_some("stored_bytes_max")).collect()
    }

    /// Whether agents that were never used have to make room.
    pub(crate) fn agents_crowd(&self, limits: &Limits) -> bool {
        let elsewhere = &limits.elsewhere;
        is_nearly(self.unused_agents + elsewhere.unused_agents, limits.unused_agents_max)
            || is_nearly(self.agents + elsewhere.agents, limits.agents_max)
    }

    /// Whether receipt subscriptions that were never used have to make room.
    pub(crate) fn receipt_subscriptions_crowd(&self, limits: &Limits) -> bool {
        let unused = self.unused_receipt_subscriptions + limits.elsewhere.unused_receipt_subscriptions;
        let all = self.receipt_subscriptions + limits.elsewhere.receipt_subscriptions;
        is_nearly(unused, limits.unused_receipt_subscriptions_max) || is_nearly(all, limits.receipt_subscriptions_max)
    }

    /// The same for an operator.
    pub(crate) fn contents(&self, ended: Ended, reserve_bytes: u64) -> Contents {
        Contents {
            disk_available_bytes: None,
            agents: self.agents,
            unused_agents: self.unused_agents,
            subscriptions: self.subscriptions,
            messages: self.messages,
            bytes: self.bytes(),
            receipts: self.receipts,
            receipt_subscriptions: self.receipt_subscriptions,
            unused_receipt_subscriptions: self.unused_receipt_subscriptions,
            reserve_bytes,
            ended,
            resolved: Resolved::default(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_that_are_reached_are_named_and_no_others() {
        let limits = Limits {
            agents_max: 3,
            unused_agents_max: 2,
            subscriptions_max: 4,
            bytes_max: 1_000,
            receipt_subscriptions_max: 2,
            unused_receipt_subscriptions_max: 1,
            ..Limits::default()
        };
        let below = Totals {
            agents: 2,
            unused_agents: 1,
            subscriptions: 3,
            messages: 1,
            message_bytes: 400,
            receipts: 0,
            receipt_subscriptions: 1,
            unused_receipt_subscriptions: 0,
        };
        let reached = |totals: Totals| totals.reached(&limits);
        assert!(reached(below).is_empty());
        assert_eq!(reached(Totals { agents: 3, ..below }), ["agents_max"]);
        assert_eq!(reached(Totals { unused_agents: 2, ..below }), ["unused_agents_max"]);
        assert_eq!(reached(Totals { subscriptions: 5, ..below }), ["subscriptions_max"]);
        assert_eq!(reached(Totals { receipts: 1, ..below }), ["stored_bytes_max"]);
        assert_eq!(
            reached(Totals { receipt_subscriptions: 2, unused_receipt_subscriptions: 1, ..below }),
            ["receipt_subscriptions_max", "unused_receipt_subscriptions_max"]
        );
    }
}
