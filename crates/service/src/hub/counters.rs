//! What the hub counts and logs: damage that an operator must know, and bounds that turn clients away.

use std::sync::Arc;

use doorbell_protocol::time::UnixMs;
use doorbell_store::StoreError;
use tracing::{error, warn};

use super::error::HubError;
use crate::clock::Clock;
use crate::counts::Counts;
use crate::seldom::Seldom;

/// Counts since the start. Each count is also in an error in the log, at most one a minute: clients may read damaged records
/// as often as they like.
#[derive(Debug)]
pub(crate) struct Counters {
    clock: Clock,
    pub(super) counts: Arc<Counts>,
    message_lines: Seldom,
    key_lines: Seldom,
    agent_lines: Seldom,
    byte_lines: Seldom,
    receipt_lines: Seldom,
}

/// What the whole store may hold only so much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounded {
    /// Agents and subscriptions.
    Subscriptions,
    /// Messages and receipts.
    Bytes,
    ReceiptSubscriptions,
}

impl Counters {
    pub(super) fn new(clock: Clock, counts: Arc<Counts>) -> Self {
        Self {
            clock,
            counts,
            message_lines: Seldom::default(),
            key_lines: Seldom::default(),
            agent_lines: Seldom::default(),
            byte_lines: Seldom::default(),
            receipt_lines: Seldom::default(),
        }
    }

    /// The store refused to take more of this. If a bound of the whole store is the reason, the log names the settings.
    pub(super) fn refused(&self, what: Bounded, error: StoreError) -> HubError {
        if error == StoreError::StoreFull {
            let (lines, settings) = match what {
                Bounded::Subscriptions => (&self.agent_lines, "agents_max, unused_agents_max or subscriptions_max"),
                Bounded::Bytes => (&self.byte_lines, "stored_bytes_max"),
                Bounded::ReceiptSubscriptions => {
                    (&self.receipt_lines, "receipt_subscriptions_max or unused_receipt_subscriptions_max")
                }
            };
            lines.log(self.clock.now(), move |times| {
                warn!(
                    times,
                    "the store holds as much as it may, and clients get 429; if this is no attack, raise {settings}"
                );
            });
        }
        match (error, what) {
            (StoreError::StoreFull, Bounded::ReceiptSubscriptions) => HubError::ReceiptSubscriptionsFull,
            _ => error.into(),
        }
    }

    /// The header record of a stored message is damaged. Two readers of one message count it twice.
    pub(super) fn damaged_message(&self) {
        self.counts.damaged_messages.add();
        // No id: the message is dropped, so no row is left to examine.
        self.message_lines.log(self.clock.now(), |times| {
            error!(times, "a stored message is damaged and is dropped without delivery; check the disk");
        });
    }

    /// The stored VAPID key of a subscription is invalid.
    pub(super) fn damaged_key(&self) {
        self.counts.damaged_keys.add();
        self.key_lines.log(self.clock.now(), |times| {
            error!(
                times,
                "the stored key of a subscription is damaged: messages that need it are dropped; check the disk"
            );
        });
    }

    /// Logs the events that have had no line, where one is due.
    pub(crate) fn flush_lines(&self, now: UnixMs) {
        for lines in [&self.message_lines, &self.key_lines, &self.agent_lines, &self.byte_lines, &self.receipt_lines] {
            lines.flush(now);
        }
    }

    /// How many stored messages were damaged.
    pub(crate) fn damaged_messages(&self) -> u64 {
        self.counts.damaged_messages.get()
    }

    /// How often the stored key of a subscription was damaged.
    pub(crate) fn damaged_keys(&self) -> u64 {
        self.counts.damaged_keys.get()
    }

    /// Logs the counts at the end of a run, if they are not zero.
    pub(crate) fn log(&self) {
        let (damaged_messages, damaged_keys) = (self.damaged_messages(), self.damaged_keys());
        if damaged_messages + damaged_keys > 0 {
            warn!(damaged_messages, damaged_keys, "damaged records were found in the store");
        }
    }
}
