//! Counters of the hub: damage that an operator must know.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{error, warn};

/// Counts since the start. Each count is also an error in the log at that moment.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    damaged_messages: AtomicU64,
    damaged_keys: AtomicU64,
}

impl Counters {
    /// The header record of a stored message is damaged. Two readers of one message count it twice.
    pub(super) fn damaged_message(&self) {
        self.damaged_messages.fetch_add(1, Ordering::Relaxed);
        // No id: the message is dropped, so no row is left to examine.
        error!("a stored message is damaged and is dropped without delivery; check the disk");
    }

    /// The stored VAPID key of a subscription is invalid.
    pub(super) fn damaged_key(&self) {
        self.damaged_keys.fetch_add(1, Ordering::Relaxed);
        error!("the stored key of a subscription is damaged: messages that need it are dropped; check the disk");
    }

    /// How many stored messages were damaged.
    pub(crate) fn damaged_messages(&self) -> u64 {
        self.damaged_messages.load(Ordering::Relaxed)
    }

    /// How often the stored key of a subscription was damaged.
    pub(crate) fn damaged_keys(&self) -> u64 {
        self.damaged_keys.load(Ordering::Relaxed)
    }

    /// Logs the counts at the end of a run, if they are not zero.
    pub(crate) fn log(&self) {
        let (damaged_messages, damaged_keys) = (self.damaged_messages(), self.damaged_keys());
        if damaged_messages + damaged_keys > 0 {
            warn!(damaged_messages, damaged_keys, "damaged records were found in the store");
        }
    }
}
