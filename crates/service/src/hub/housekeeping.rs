//! Work without a request: removes expired messages, and agents that were not used for a long time; records the clock.

use std::sync::Arc;
use std::time::Duration;

use doorbell_store::{IdleBounds, IdleRemoved, SEEN_PRECISION_MS, Store, StoreError, UnusedBounds};
use tracing::debug;

use super::command::AgentCommand;
use super::receipts::Receipts;
use super::shards::Shards;
use crate::clock::Clock;
use crate::config::Live;

/// How often idle agents are searched and the clock is recorded. Agents are removed after days; an hour is precise
/// enough.
const HOURLY: Duration = Duration::from_secs(3600);
/// How often agents and receipt subscriptions that were never used are searched: while they crowd the store, new ones
/// get 429.
const UNUSED_CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// A sender that makes a receipt subscription with each message and fetches from none would otherwise hold all of them.
/// The store knows to some hours when one was used, so it stays for more than a day after its last message.
const UNUSED_RECEIPTS_EXPIRY: Duration = Duration::from_secs(2 * 24 * 3600);
/// A client that subscribes on Friday and gets its first message on Monday is still there, even if the store is crowded.
const UNUSED_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);
/// How precisely the store knows when an agent was last in use.
const SEEN_PRECISION: Duration = Duration::from_millis(SEEN_PRECISION_MS as u64);
/// An agent without a subscription receives nothing, and is removed when it was not seen for a day. The last note of one
/// that was connected may be this much older than the end of its connection.
const EMPTY_EXPIRY: Duration = Duration::from_secs(24 * 3600 + SEEN_PRECISION.as_secs() + HOURLY.as_secs());
/// Messages removed in one commit: with a thousand, new messages wait about 40 ms while a large backlog expires
/// (docs/performance.md).
const SWEPT_MAX: u32 = 100;
/// Agents removed in one commit.
const REMOVED_MAX: u32 = 32;

/// The task that removes expired and idle records.
pub(crate) struct Housekeeper {
    shards: Arc<Shards>,
    store: Store,
    clock: Clock,
    receipts: Arc<Receipts>,
    config: Arc<Live>,
    /// The longest TTL that the service has accepted since its start: a reload may have shortened it.
    ttl_max_secs: u32,
}

impl Housekeeper {
    pub(super) fn new(
        shards: Arc<Shards>,
        store: Store,
        clock: Clock,
        receipts: Arc<Receipts>,
        config: Arc<Live>,
    ) -> Self {
        let ttl_max_secs = config.get().limits.ttl_max_secs;
        Self { shards, store, clock, receipts, config, ttl_max_secs }
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(mut self) {
        self.note_clock().await;
        let mut next_hour = self.clock.now().plus(HOURLY);
        let mut next_unused_check = self.clock.now().plus(UNUSED_CHECK_INTERVAL);
        loop {
            let now = self.clock.now();
            let limits = self.config.get().limits;
            self.ttl_max_secs = self.ttl_max_secs.max(limits.ttl_max_secs);
            tokio::select! {
                () = self.clock.sleep_until(now.plus(limits.sweep_interval)) => {}
                // What the record says of the wall clock is wrong from now on.
                () = self.clock.jumped() => {
                    self.note_clock().await;
                    continue;
                }
            }
            if let Err(error) = self.sweep().await {
                debug!(%error, "the sweep of expired messages continues later");
            }
            if self.clock.now() >= next_unused_check {
                next_unused_check = self.clock.now().plus(UNUSED_CHECK_INTERVAL);
                if let Err(error) = self.expire_unused().await {
                    debug!(%error, "the search for unused agents continues later");
                }
            }
            if self.clock.now() >= next_hour {
                next_hour = self.clock.now().plus(HOURLY);
                self.note_clock().await;
                if let Err(error) = self.expire_idle().await {
                    debug!(%error, "the search for idle agents continues later");
                }
            }
        }
    }

    async fn note_clock(&self) {
        if let Err(error) = self.store.note_clock(self.clock.record()).await {
            debug!(%error, "the clock is recorded later");
        }
    }

    /// Frees the space of expired messages and wakes the streams that wait for their receipts. Expired messages are
    /// never delivered, removed or not.
    async fn sweep(&self) -> Result<(), StoreError> {
        loop {
            let swept = self.store.sweep(self.clock.now(), SWEPT_MAX).await?;
            swept.receipts.into_iter().for_each(|id| self.receipts.wake(id));
            if !swept.more {
                return Ok(());
            }
        }
    }

    /// Removes agents and receipt subscriptions that were not used for a long time of service (RFC 8030 s7.3).
    pub(super) async fn expire_idle(&self) -> Result<(), StoreError> {
        let (now, served) = (self.clock.now(), self.clock.served());
        let idle_expiry = self.config.get().limits.idle_expiry;
        let agents_before = served.minus(idle_expiry.max(2 * SEEN_PRECISION));
        // No message that names a receipt subscription waits longer, and its receipt has a day to be fetched.
        let message_life = Duration::from_secs(self.ttl_max_secs.into());
        let receipt_subscriptions_before = served.minus(idle_expiry.max(message_life + 2 * SEEN_PRECISION));
        // An agent that stays connected is in use, even without new requests.
        self.shards.touch_connected(served.minus(SEEN_PRECISION)).await;
        self.receipts.touch_waited_for().await?;
        loop {
            let bounds = IdleBounds {
                now,
                served,
                agents_before,
                receipt_subscriptions_before,
                max: REMOVED_MAX,
                keep: Vec::new(),
            };
            let mut removed = self.store.expire_idle(bounds).await?;
            self.report(&mut removed);
            if !removed.more {
                return Ok(());
            }
        }
    }

    /// Removes agents without a subscription, and what was never used while it crowds the store.
    pub(super) async fn expire_unused(&self) -> Result<(), StoreError> {
        let (now, served) = (self.clock.now(), self.clock.served());
        let bounds = UnusedBounds {
            now,
            empty_agents_before: served.minus(EMPTY_EXPIRY),
            unused_agents_before: served.minus(UNUSED_EXPIRY),
            unused_receipt_subscriptions_before: served.minus(UNUSED_RECEIPTS_EXPIRY),
            max: REMOVED_MAX,
        };
        loop {
            let mut removed = self.store.expire_unused(bounds).await?;
            self.report(&mut removed);
            if !removed.more {
                return Ok(());
            }
        }
    }

    /// Ends the streams of what was removed, and wakes those that wait for its receipts.
    fn report(&self, removed: &mut IdleRemoved) {
        for agent in removed.agents.drain(..) {
            self.shards.send(agent, AgentCommand::Removed);
        }
        let woken = removed.receipt_subscriptions.drain(..).chain(removed.receipts.drain(..));
        woken.for_each(|id| self.receipts.wake(id));
    }
}
