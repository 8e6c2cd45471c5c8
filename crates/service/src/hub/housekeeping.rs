//! What happens without anybody asking: expired messages go, and with them agents that nobody has used for long.

use std::sync::Arc;
use std::time::Duration;

use doorbell_protocol::time::UnixMs;
use doorbell_store::{IdleBounds, StoreError};
use tokio::sync::oneshot;
use tracing::debug;

use super::Hub;
use super::shard::Command;
use crate::config::Limits;

/// How often agents are looked through. They are removed after days; an hour is soon enough.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(3600);
/// How exactly the store knows when an agent was last in use.
const SEEN_PRECISION: Duration = Duration::from_secs(24 * 3600);
/// Messages swept in one commit: with a thousand, new ones wait for some 40 ms while a large backlog expires
/// (docs/performance.md).
const SWEPT_MAX: u32 = 100;
/// Agents removed in one commit.
const REMOVED_MAX: u32 = 32;

impl Hub {
    /// Sweeps and expires, until it is aborted.
    pub(crate) async fn keep_house(self: Arc<Self>, limits: Limits) {
        let mut next_idle_check = self.clock.now().plus(IDLE_CHECK_INTERVAL);
        loop {
            let now = self.clock.now();
            self.clock.sleep_until(now.plus(limits.sweep_interval)).await;
            if let Err(error) = self.sweep().await {
                debug!(%error, "the sweep goes on later");
            }
            if self.clock.now() >= next_idle_check {
                next_idle_check = self.clock.now().plus(IDLE_CHECK_INTERVAL);
                if let Err(error) = self.expire_idle(&limits).await {
                    debug!(%error, "idle agents are looked for later");
                }
            }
        }
    }

    /// Frees the room of expired messages and tells those who asked what became of them. They are not delivered any
    /// more, swept or not.
    async fn sweep(&self) -> Result<(), StoreError> {
        loop {
            let swept = self.store.sweep(self.clock.now(), SWEPT_MAX).await?;
            swept.receipts.into_iter().for_each(|id| self.receipt_waiters.wake(id));
            if !swept.more {
                return Ok(());
            }
        }
    }

    /// Removes what nobody has used for long (RFC 8030 s7.3).
    async fn expire_idle(&self, limits: &Limits) -> Result<(), StoreError> {
        let now = self.clock.now();
        let agents_before = now.minus(limits.idle_expiry.max(2 * SEEN_PRECISION));
        // No message that names a receipt subscription waits for longer, and its receipt has a day to be fetched.
        let message_life = Duration::from_secs(limits.ttl_max_secs.into());
        let receipt_subscriptions_before = now.minus(limits.idle_expiry.max(message_life + 2 * SEEN_PRECISION));
        self.touch_connected(now.minus(SEEN_PRECISION)).await;
        loop {
            let bounds =
                IdleBounds { now, agents_before, receipt_subscriptions_before, max: REMOVED_MAX, keep: Vec::new() };
            let removed = self.store.expire_idle(bounds).await?;
            for agent in removed.agents {
                self.tell(agent, Command::AgentRemoved { agent });
            }
            let woken = removed.receipt_subscriptions.into_iter().chain(removed.receipts);
            woken.for_each(|id| self.receipt_waiters.wake(id));
            if !removed.more {
                return Ok(());
            }
        }
    }

    /// An agent that has been connected all the time is in use, though it never came again. The store is told of
    /// those that it has not heard of since `before`, ahead of whatever it is asked next.
    async fn touch_connected(&self, before: UnixMs) {
        for shard in &self.shards {
            let (done, told) = oneshot::channel();
            if shard.commands.send(Command::TouchConnected { before, done }).is_ok() {
                // A shard that is gone has nobody connected.
                let _ = told.await;
            }
        }
    }
}
