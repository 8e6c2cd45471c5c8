//! How much an agent may store: the arithmetic that both engines share.

use doorbell_protocol::time::UnixMs;

use crate::error::StoreError;
use crate::limits::Limits;

/// What an agent's messages count for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) messages: u32,
    pub(crate) bytes: u64,
    /// No message of the agent expires before this moment, so a search for expired ones before it finds none.
    pub(crate) expires_from: UnixMs,
}

impl Default for Usage {
    fn default() -> Self {
        Self { messages: 0, bytes: 0, expires_from: UnixMs::from_millis(i64::MAX) }
    }
}

impl Usage {
    /// Adds one message.
    pub(crate) fn add(&mut self, size: u32, expires_at: UnixMs) {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::from(size));
        self.expires_from = self.expires_from.min(expires_at);
    }

    /// Removes one message that was counted.
    pub(crate) fn remove(&mut self, size: u32) {
        debug_assert!(self.messages > 0, "a removed message was counted");
        debug_assert!(self.bytes >= u64::from(size), "the bytes of a removed message were counted");
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(u64::from(size));
    }

    /// Refuses a message of `size` bytes that would take the agent over `limits`, once `replaced` bytes are freed.
    pub(crate) fn check(&self, limits: &Limits, size: u32, replaced: Option<u32>) -> Result<(), StoreError> {
        self.check_against(limits.messages_per_agent_max, limits.bytes_per_agent_max, size, replaced)
    }

    /// The same check for the share of one subscription.
    pub(crate) fn check_share(&self, limits: &Limits, size: u32, replaced: Option<u32>) -> Result<(), StoreError> {
        self.check_against(limits.messages_per_subscription_max, limits.bytes_per_subscription_max, size, replaced)
    }

    fn check_against(
        &self,
        messages_max: u32,
        bytes_max: u64,
        size: u32,
        replaced: Option<u32>,
    ) -> Result<(), StoreError> {
        let mut after = *self;
        if let Some(freed) = replaced {
            after.remove(freed);
        }
        after.add(size, self.expires_from);
        if after.messages > messages_max || after.bytes > bytes_max {
            return Err(StoreError::QuotaExceeded { messages: self.messages, bytes: self.bytes });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_message_makes_room_for_the_one_that_replaces_it() {
        let limits = Limits { messages_per_agent_max: 1, bytes_per_agent_max: 10, ..Limits::default() };
        let full = Usage { messages: 1, bytes: 8, ..Usage::default() };
        assert_eq!(full.check(&limits, 10, Some(8)), Ok(()));
        assert_eq!(full.check(&limits, 1, None), Err(StoreError::QuotaExceeded { messages: 1, bytes: 8 }));
        assert!(full.check(&limits, 11, Some(8)).is_err());
    }
}
