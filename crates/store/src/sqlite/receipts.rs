//! Receipts, as part of a transaction (RFC 8030 s5.1): added when their message ends, removed when they are taken.

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use rusqlite::{OptionalExtension, Row, params};

use super::batch::{Batch, WriteError};
use super::sql;
use crate::error::StoreError;
use crate::limits::SWEEP_MAX;
use crate::totals::lower;

/// What is cached of a receipt subscription.
pub(super) struct Untaken {
    /// When it was last used, as the table has it.
    last_used: UnixMs,
    /// Its untaken receipts.
    receipts: u32,
}

/// A message that this transaction deleted.
pub(super) struct DeletedMessage {
    pub(super) id: MessageId,
    pub(super) agent: AgentId,
    /// What it counted for in the quota: see [`counted_size`].
    pub(super) size: u32,
    pub(super) expires_at: UnixMs,
    receipt: Option<ReceiptSubscriptionId>,
}

impl DeletedMessage {
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: MessageId::from_raw(row.get(0)?),
            agent: AgentId::from_raw(row.get(1)?),
            size: counted_size(row, 2)?,
            expires_at: UnixMs::from_millis(row.get(3)?),
            receipt: row.get::<_, Option<i64>>(4)?.map(ReceiptSubscriptionId::from_raw),
        })
    }
}

/// What a message counts for in the quota: its size, or nothing if that is damaged. Reads report such a message. Here
/// an error would roll back the neighbours of this write.
pub(super) fn counted_size(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    let size: i64 = row.get(column)?;
    Ok(u32::try_from(size).unwrap_or(0))
}

impl Batch<'_> {
    pub(super) fn create_receipt_subscription(
        &mut self,
        id: ReceiptSubscriptionId,
        served: UnixMs,
    ) -> Result<(), WriteError> {
        self.check_free(sql::RECEIPT_SUBSCRIPTION_EXISTS, id.raw())?;
        self.totals.check_receipt_subscription(self.limits)?;
        self.totals.receipt_subscriptions += 1;
        self.totals.unused_receipt_subscriptions += 1;
        self.run(sql::INSERT_RECEIPT_SUBSCRIPTION, [id.raw(), served.as_millis()])?;
        self.note_id(id.raw());
        Ok(())
    }

    pub(super) fn join_receipt_subscription(
        &mut self,
        id: ReceiptSubscriptionId,
        served: UnixMs,
    ) -> Result<(), WriteError> {
        if self.use_receipt_subscription(id, served)? {
            return Ok(());
        }
        self.totals.check_joining(self.limits)?;
        self.totals.receipt_subscriptions += 1;
        self.run(sql::INSERT_RECEIPT_SUBSCRIPTION, [id.raw(), served.as_millis()])?;
        self.run(sql::RECEIPT_SUBSCRIPTION_IS_TAKEN, [id.raw()])?;
        self.note_id(id.raw());
        Ok(())
    }

    /// Refuses a write that needs a receipt in a receipt subscription without room for it.
    pub(super) fn check_receipts(&mut self, of: ReceiptSubscriptionId) -> Result<(), WriteError> {
        let max = self.limits.receipts_per_subscription_max;
        let untaken = self.untaken(of)?.ok_or(StoreError::NoReceiptSubscription)?;
        if untaken.receipts >= max { Err(StoreError::ReceiptsFull.into()) } else { Ok(()) }
    }

    /// Counts how deleted messages ended, and adds the receipts of those that want one. Returns the receipt subscriptions, each once.
    pub(super) fn add_receipts(
        &mut self,
        mut deleted: Vec<DeletedMessage>,
        outcome: Outcome,
        now: UnixMs,
    ) -> rusqlite::Result<Vec<ReceiptSubscriptionId>> {
        deleted.sort_unstable_by_key(|message| message.id);
        let mut changed = Vec::new();
        for message in deleted {
            let expired = message.expires_at <= now;
            let (outcome, at) = if expired { (Outcome::Expired, message.expires_at) } else { (outcome, now) };
            self.ended.add(outcome);
            let Some(of) = message.receipt else { continue };
            if self.insert_receipt(of, message.id, message.agent, outcome, at)? {
                changed.push(of);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        Ok(changed)
    }

    pub(super) fn add_receipt(
        &mut self,
        of: ReceiptSubscriptionId,
        message: MessageId,
        agent: AgentId,
        outcome: Outcome,
        now: UnixMs,
    ) -> Result<(), WriteError> {
        self.check_receipts(of)?;
        self.insert_receipt(of, message, agent, outcome, now)?;
        self.note_id(message.raw());
        Ok(())
    }

    /// `false`: the receipt subscription is gone.
    fn insert_receipt(
        &mut self,
        of: ReceiptSubscriptionId,
        message: MessageId,
        agent: AgentId,
        outcome: Outcome,
        at: UnixMs,
    ) -> rusqlite::Result<bool> {
        let Some(untaken) = self.untaken(of)? else { return Ok(false) };
        untaken.receipts = untaken.receipts.saturating_add(1);
        self.totals.receipts += 1;
        let seq = self.next_seq();
        let code = outcome.code();
        self.run(sql::INSERT_RECEIPT, params![seq, of.raw(), message.raw(), agent.raw(), code, at.as_millis()])?;
        Ok(true)
    }

    /// Records a use of a receipt subscription. `false`: it does not exist.
    pub(super) fn use_receipt_subscription(
        &mut self,
        id: ReceiptSubscriptionId,
        served: UnixMs,
    ) -> rusqlite::Result<bool> {
        let limits = self.limits;
        let Some(untaken) = self.untaken(id)? else { return Ok(false) };
        if limits.is_later_use(untaken.last_used, served) {
            untaken.last_used = served;
            self.run(sql::USE_RECEIPT_SUBSCRIPTION, [id.raw(), served.as_millis()])?;
        }
        Ok(true)
    }

    pub(super) fn take_receipts(
        &mut self,
        of: ReceiptSubscriptionId,
        up_to: i64,
        served: UnixMs,
    ) -> rusqlite::Result<bool> {
        let exists = self.use_receipt_subscription(of, served)?;
        if exists {
            let changed = self.run(sql::RECEIPT_SUBSCRIPTION_IS_TAKEN, [of.raw()])?;
            lower(&mut self.totals.unused_receipt_subscriptions, changed as u64);
            // A number that is not in use yet must not remove a future receipt.
            self.delete_receipts(of, up_to.min(self.greatest.seq))?;
        }
        Ok(exists)
    }

    pub(super) fn delete_receipt_subscription(&mut self, id: ReceiptSubscriptionId) -> rusqlite::Result<bool> {
        let Some(was_used) = self.delete_returning(sql::DELETE_RECEIPT_SUBSCRIPTION, id.raw())? else {
            return Ok(false);
        };
        self.totals.remove_receipt_subscription(was_used);
        self.delete_receipts(id, self.greatest.seq)?;
        Ok(true)
    }

    /// Deletes receipts, and leaves those that are too many for one transaction to the sweep.
    fn delete_receipts(&mut self, of: ReceiptSubscriptionId, up_to: i64) -> rusqlite::Result<()> {
        let deleted = self.run(sql::DELETE_RECEIPTS, params![of.raw(), up_to, SWEEP_MAX])?;
        debug_assert!(deleted <= SWEEP_MAX as usize, "the statement has this limit");
        lower(&mut self.totals.receipts, deleted as u64);
        if deleted >= SWEEP_MAX as usize {
            self.run(sql::NOTE_TAKEN, [of.raw(), up_to])?;
        }
        self.counts.untaken.forget(of);
        Ok(())
    }

    /// Deletes up to `max` receipts that count as taken. Returns whether there may be more.
    pub(super) fn sweep_taken(&mut self, max: u32) -> rusqlite::Result<bool> {
        let first = self.conn.prepare_cached(sql::FIRST_TAKEN)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some((of, up_to)): Option<(i64, i64)> = first.optional()? else { return Ok(false) };
        let deleted = self.run(sql::DELETE_RECEIPTS, params![of, up_to, max])?;
        lower(&mut self.totals.receipts, deleted as u64);
        if deleted < max as usize {
            self.run(sql::FORGET_TAKEN, [of])?;
        }
        Ok(true)
    }

    /// What is cached of a receipt subscription, counted if it is not cached. `None`: it does not exist.
    fn untaken(&mut self, id: ReceiptSubscriptionId) -> rusqlite::Result<Option<&mut Untaken>> {
        if self.counts.untaken.get(id).is_none() {
            let mut count = self.conn.prepare_cached(sql::UNTAKEN)?;
            let counted = count.query_row([id.raw()], |row| {
                Ok(Untaken { last_used: UnixMs::from_millis(row.get(0)?), receipts: row.get(1)? })
            });
            let Some(counted) = counted.optional()? else { return Ok(None) };
            self.counts.untaken.insert(id, counted);
        }
        Ok(self.counts.untaken.get(id))
    }
}
