//! What the hub counts while it runs: damage that an operator has to know of.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{error, warn};

/// Counts since the start. Each count is also an error in the log at the moment at which it happens.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    damaged_messages: AtomicU64,
    damaged_keys: AtomicU64,
}

impl Counters {
    /// A stored message was read whose header record makes no sense. Two readers of one message count it twice.
    pub(super) fn damaged_message(&self) {
        self.damaged_messages.fetch_add(1, Ordering::Relaxed);
        // No id: the message is dropped, so there is no row left to look at.
        error!("a stored message is damaged: it is dropped, and not delivered; check the disk");
    }

    /// A stored subscription was read whose VAPID key is none.
    pub(super) fn damaged_key(&self) {
        self.damaged_keys.fetch_add(1, Ordering::Relaxed);
        error!(
            "the stored key of a subscription is damaged: its messages are dropped where the key matters; check the disk"
        );
    }

    /// How many stored messages were found damaged.
    pub(crate) fn damaged_messages(&self) -> u64 {
        self.damaged_messages.load(Ordering::Relaxed)
    }

    /// How often the stored key of a subscription was found damaged.
    pub(crate) fn damaged_keys(&self) -> u64 {
        self.damaged_keys.load(Ordering::Relaxed)
    }

    /// Logs the counts, if there is something to report: for the end of a run.
    pub(crate) fn log(&self) {
        let (damaged_messages, damaged_keys) = (self.damaged_messages(), self.damaged_keys());
        if damaged_messages + damaged_keys > 0 {
            warn!(damaged_messages, damaged_keys, "damaged records were found in the store");
        }
    }
}
