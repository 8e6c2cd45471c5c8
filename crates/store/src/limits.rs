//! Every bound of the store, with its reason.

use std::time::Duration;

use doorbell_protocol::time::UnixMs;

use crate::figures::Contents;

/// Bounds of one store. [`Limits::default`] suits a small machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Unexpired messages stored for one agent. It also bounds what the removal of an agent has to delete.
    pub messages_per_agent_max: u32,
    /// Bytes of bodies and content headers stored for one agent: the default allows all its messages at 4 KiB.
    pub bytes_per_agent_max: u64,
    /// Unexpired messages stored for one subscription: fewer than for the agent, so that a flooded subscription leaves
    /// room for the others (RFC 8030 s8.4). The default sets no such bound.
    pub messages_per_subscription_max: u32,
    /// Bytes of bodies and content headers stored for one subscription.
    pub bytes_per_subscription_max: u64,
    /// Subscriptions of one agent: more than any browser profile has, few enough for one list.
    pub subscriptions_per_agent_max: u32,
    /// Receipts of one receipt subscription that its application server has not taken. At the bound, messages that want
    /// a receipt there are refused; messages that were accepted before still get their receipts.
    pub receipts_per_subscription_max: u32,
    /// How exactly the store records when an agent was last seen and a receipt subscription last used, in milliseconds:
    /// it writes a later moment only if it is later by this much.
    pub seen_precision_ms: u32,
    /// Writes that may wait for a commit. The next one fails with [`Overloaded`](crate::StoreError::Overloaded).
    pub queued_writes_max: usize,
    /// Bytes that waiting writes may hold.
    pub queued_bytes_max: usize,
    /// Writes in one commit: enough to share the cost of an fsync, few enough to keep the wait short.
    pub batch_writes_max: usize,
    /// Bytes in one commit. A removal of a subscription or an agent counts for [`REMOVAL_COST_BYTES`].
    pub batch_bytes_max: usize,
    /// How long a deferred write may wait for another write to share its commit. Long enough that at fifty messages a
    /// second an acknowledgement is committed with the next message; short, because a crash in between delivers the
    /// message again.
    pub deferral_max: Duration,
    /// So many deferred writes wait no longer: their commit is well used, and a socket settles at most 64 at a time.
    pub deferred_writes_max: usize,
    /// Reads that may wait.
    pub queued_reads_max: usize,
    /// Threads that read, each with its own connection. The store starts at least one.
    pub readers: usize,
    /// Bytes that the database file may have; `None`: only the disk bounds it. At the bound, writes that need room fail
    /// with [`NoRoom`](crate::StoreError::NoRoom).
    pub database_bytes_max: Option<u64>,
    /// Agents in all. Each takes some hundred bytes. At this bound and those that follow, a write fails with
    /// [`StoreFull`](crate::StoreError::StoreFull). The default sets none of them: the service does.
    pub agents_max: u32,
    /// Agents that were never used: no message was sent to them, and they were not seen again. Creating one needs no
    /// permission, so they may not fill the store.
    pub unused_agents_max: u32,
    /// Subscriptions in all.
    pub subscriptions_max: u32,
    /// Bytes of messages and receipts in all; each counts with [`MESSAGE_OVERHEAD_BYTES`] or [`RECEIPT_BYTES`] too.
    pub bytes_max: u64,
    /// Receipt subscriptions in all.
    pub receipt_subscriptions_max: u32,
    /// Receipt subscriptions whose application server never took a receipt.
    pub unused_receipt_subscriptions_max: u32,
    /// Bytes of the file that is given up when the disk is full. Removing something needs room in the log first: as much
    /// as the log has before it is moved, and some commits. 0: no reserve, and a full disk may never recover by itself.
    pub reserve_bytes: u64,
    /// With less room on the disk than this, the store does not grow; with less than twice as much, it takes no new
    /// agents and receipt subscriptions. 0: no floor.
    pub disk_floor_bytes: u64,
    /// What the other cells of the store hold, which counts for the bounds of what is stored in all. The store keeps it
    /// up to date in each cell.
    pub elsewhere: Held,
}

/// What one part of a store holds of all that its bounds allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Agents.
    pub agents: u64,
    /// Of these, the ones that were never used.
    pub unused_agents: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Bytes of messages and receipts.
    pub bytes: u64,
    /// Receipt subscriptions.
    pub receipt_subscriptions: u64,
    /// Of these, the ones whose application server never took a receipt.
    pub unused_receipt_subscriptions: u64,
}

impl Held {
    pub(crate) fn plus(self, other: &Contents) -> Self {
        Self {
            agents: self.agents + other.agents,
            unused_agents: self.unused_agents + other.unused_agents,
            subscriptions: self.subscriptions + other.subscriptions,
            bytes: self.bytes + other.bytes,
            receipt_subscriptions: self.receipt_subscriptions + other.receipt_subscriptions,
            unused_receipt_subscriptions: self.unused_receipt_subscriptions + other.unused_receipt_subscriptions,
        }
    }
}

/// What the removal of a subscription or an agent counts for in a batch. It may delete up to
/// `messages_per_agent_max` messages, so only a few dozen of them share a transaction.
pub const REMOVAL_COST_BYTES: usize = 128 * 1024;

/// What a message takes in the store beside its size: its row, its places in the indexes, and half-empty pages.
pub const MESSAGE_OVERHEAD_BYTES: u64 = 256;

/// What a receipt takes in the store.
pub const RECEIPT_BYTES: u64 = 128;

/// Messages that one sweep deletes at most, whatever the caller asks for, so that appends do not wait behind it for
/// long.
pub const SWEEP_MAX: u32 = 1_000;

/// Agents, and receipt subscriptions, that one step of idle expiry removes at most: as many removals as share a batch.
pub const EXPIRE_MAX: u32 = 32;

/// Entries in one page of [`Store::pending`](crate::Store::pending) or [`Store::receipts`](crate::Store::receipts),
/// whatever the caller asks for.
pub const PAGE_MAX: u32 = 1_000;

/// The default of [`Limits::seen_precision_ms`]: three writes a day for an agent that stays connected.
pub const SEEN_PRECISION_MS: u32 = 8 * 60 * 60 * 1_000;

impl Limits {
    /// Whether a use `now` must be recorded after the recorded one.
    pub(crate) fn is_later_use(&self, recorded: UnixMs, now: UnixMs) -> bool {
        now > recorded && now.since(recorded).as_millis() >= u128::from(self.seen_precision_ms)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages_per_agent_max: 1_000,
            bytes_per_agent_max: 4 << 20,
            messages_per_subscription_max: u32::MAX,
            bytes_per_subscription_max: u64::MAX,
            subscriptions_per_agent_max: 4_096,
            receipts_per_subscription_max: 10_000,
            seen_precision_ms: SEEN_PRECISION_MS,
            queued_writes_max: 16_384,
            queued_bytes_max: 64 << 20,
            batch_writes_max: 4_096,
            batch_bytes_max: 4 << 20,
            deferral_max: Duration::from_millis(25),
            deferred_writes_max: 32,
            queued_reads_max: 4_096,
            readers: 2,
            database_bytes_max: None,
            agents_max: u32::MAX,
            unused_agents_max: u32::MAX,
            subscriptions_max: u32::MAX,
            bytes_max: u64::MAX,
            receipt_subscriptions_max: u32::MAX,
            unused_receipt_subscriptions_max: u32::MAX,
            reserve_bytes: 16 << 20,
            disk_floor_bytes: 0,
            elsewhere: Held::default(),
        }
    }
}
