//! How much an agent may keep: the arithmetic that both engines share, and the cache of counts.

use std::collections::HashMap;

use doorbell_protocol::{id::AgentId, time::UnixMs};

use crate::{error::StoreError, limits::Limits};

/// What an agent's messages take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) messages: u32,
    pub(crate) bytes: u64,
    /// No message of the agent expires before this moment, so that looking for expired ones earlier is in vain.
    pub(crate) expires_from: UnixMs,
}

impl Default for Usage {
    fn default() -> Self {
        Self { messages: 0, bytes: 0, expires_from: UnixMs::from_millis(i64::MAX) }
    }
}

impl Usage {
    /// Counts one message more.
    pub(crate) fn add(&mut self, size: u32, expires_at: UnixMs) {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::from(size));
        self.expires_from = self.expires_from.min(expires_at);
    }

    /// Counts one message less.
    pub(crate) fn remove(&mut self, size: u32) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(u64::from(size));
    }

    /// Refuses a message of `size` octets that would take the agent over `limits`, once `replaced` octets are freed.
    pub(crate) fn check(&self, limits: &Limits, size: u32, replaced: Option<u32>) -> Result<(), StoreError> {
        let mut after = *self;
        if let Some(freed) = replaced {
            after.remove(freed);
        }
        after.add(size, self.expires_from);
        if after.messages > limits.messages_per_agent_max || after.bytes > limits.bytes_per_agent_max {
            return Err(StoreError::QuotaExceeded { messages: self.messages, bytes: self.bytes });
        }
        Ok(())
    }
}

/// The usage of agents that were written to lately, bounded: two generations, of which the older is dropped whole.
#[derive(Debug)]
pub(crate) struct UsageCache {
    young: HashMap<AgentId, Usage>,
    old: HashMap<AgentId, Usage>,
    generation_max: usize,
}

impl UsageCache {
    /// A cache of at most twice `generation_max` agents.
    pub(crate) fn new(generation_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_max }
    }

    /// The usage of `agent`, if it is known.
    pub(crate) fn get(&mut self, agent: AgentId) -> Option<&mut Usage> {
        if !self.young.contains_key(&agent) {
            let usage = self.old.remove(&agent)?;
            self.insert(agent, usage);
        }
        self.young.get_mut(&agent)
    }

    /// Remembers what was counted.
    pub(crate) fn insert(&mut self, agent: AgentId, usage: Usage) {
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(agent, usage);
    }

    /// Forgets an agent.
    pub(crate) fn forget(&mut self, agent: AgentId) {
        self.young.remove(&agent);
        self.old.remove(&agent);
    }

    /// Forgets everything, after a roll-back.
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_keeps_what_is_used_and_stays_bounded() {
        let mut cache = UsageCache::new(10);
        for n in 0..1_000 {
            cache.insert(AgentId::from_raw(n), Usage { messages: u32::try_from(n).unwrap(), ..Usage::default() });
            assert!(cache.get(AgentId::from_raw(0)).is_some(), "the agent in use was dropped at {n}");
            assert!(cache.young.len() + cache.old.len() <= 20);
        }
        assert!(cache.get(AgentId::from_raw(1)).is_none());
        assert_eq!(cache.get(AgentId::from_raw(999)).map(|u| u.messages), Some(999));
    }

    #[test]
    fn a_replaced_message_makes_room_for_the_one_that_replaces_it() {
        let limits = Limits { messages_per_agent_max: 1, bytes_per_agent_max: 10, ..Limits::default() };
        let full = Usage { messages: 1, bytes: 8, ..Usage::default() };
        assert_eq!(full.check(&limits, 10, Some(8)), Ok(()));
        assert_eq!(full.check(&limits, 1, None), Err(StoreError::QuotaExceeded { messages: 1, bytes: 8 }));
        assert!(full.check(&limits, 11, Some(8)).is_err());
    }
}
