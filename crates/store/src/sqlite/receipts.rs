//! Receipts, as part of a transaction (RFC 8030 s5.1): written with the end of their message, removed once taken.

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use rusqlite::{OptionalExtension, Row, params};

use super::batch::{Batch, Trouble};
use super::sql;
use crate::error::StoreError;
use crate::limits::SWEEP_MAX;

/// What is remembered of a receipt subscription.
pub(super) struct Untaken {
    /// When it was last used, as far as that was written down.
    last_used: UnixMs,
    /// Its receipts that nobody has taken.
    receipts: u32,
}

/// A message that was just deleted.
pub(super) struct Left {
    pub(super) id: MessageId,
    pub(super) agent: AgentId,
    pub(super) size: u32,
    pub(super) expires_at: UnixMs,
    receipt: Option<ReceiptSubscriptionId>,
}

impl Left {
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: MessageId::from_raw(row.get(0)?),
            agent: AgentId::from_raw(row.get(1)?),
            size: row.get(2)?,
            expires_at: UnixMs::from_millis(row.get(3)?),
            receipt: row.get::<_, Option<i64>>(4)?.map(ReceiptSubscriptionId::from_raw),
        })
    }
}

impl Batch<'_> {
    pub(super) fn create_receipt_subscription(
        &mut self,
        id: ReceiptSubscriptionId,
        now: UnixMs,
    ) -> Result<(), Trouble> {
        self.check_free(sql::RECEIPT_SUBSCRIPTION_EXISTS, id.raw())?;
        self.run(sql::INSERT_RECEIPT_SUBSCRIPTION, [id.raw(), now.as_millis()])?;
        self.took(id.raw());
        Ok(())
    }

    /// Refuses what would need a receipt where there is no room for one.
    pub(super) fn check_receipts(&mut self, of: ReceiptSubscriptionId) -> Result<(), Trouble> {
        let max = self.limits.receipts_per_subscription_max;
        let untaken = self.untaken(of)?.ok_or(StoreError::NoReceiptSubscription)?;
        if untaken.receipts >= max { Err(StoreError::ReceiptsFull.into()) } else { Ok(()) }
    }

    /// Adds the receipts of deleted messages that want one; answers where, each once.
    pub(super) fn hand_in(
        &mut self,
        mut left: Vec<Left>,
        outcome: Outcome,
        now: UnixMs,
    ) -> rusqlite::Result<Vec<ReceiptSubscriptionId>> {
        left.sort_unstable_by_key(|message| message.id);
        let mut touched = Vec::new();
        for message in left {
            let Some(of) = message.receipt else { continue };
            let expired = message.expires_at <= now;
            let (outcome, at) = if expired { (Outcome::Expired, message.expires_at) } else { (outcome, now) };
            if self.insert_receipt(of, message.id, message.agent, outcome, at)? {
                touched.push(of);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        Ok(touched)
    }

    pub(super) fn add_receipt(
        &mut self,
        of: ReceiptSubscriptionId,
        message: MessageId,
        agent: AgentId,
        outcome: Outcome,
        now: UnixMs,
    ) -> Result<(), Trouble> {
        self.check_receipts(of)?;
        self.insert_receipt(of, message, agent, outcome, now)?;
        self.took(message.raw());
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
        let seq = self.next_seq();
        let code = outcome.code();
        self.run(sql::INSERT_RECEIPT, params![seq, of.raw(), message.raw(), agent.raw(), code, at.as_millis()])?;
        Ok(true)
    }

    /// Notes that a receipt subscription is in use. `false`: there is none.
    pub(super) fn use_receipt_subscription(
        &mut self,
        id: ReceiptSubscriptionId,
        now: UnixMs,
    ) -> rusqlite::Result<bool> {
        let limits = self.limits;
        let Some(untaken) = self.untaken(id)? else { return Ok(false) };
        if limits.is_news(untaken.last_used, now) {
            untaken.last_used = now;
            self.run(sql::USE_RECEIPT_SUBSCRIPTION, [id.raw(), now.as_millis()])?;
        }
        Ok(true)
    }

    pub(super) fn take_receipts(
        &mut self,
        of: ReceiptSubscriptionId,
        up_to: i64,
        now: UnixMs,
    ) -> rusqlite::Result<bool> {
        let exists = self.use_receipt_subscription(of, now)?;
        if exists {
            // A number that was not given yet must not take a receipt that is still to come.
            self.drop_receipts(of, up_to.min(self.greatest.seq))?;
        }
        Ok(exists)
    }

    pub(super) fn delete_receipt_subscription(&mut self, id: ReceiptSubscriptionId) -> rusqlite::Result<bool> {
        let existed = self.run(sql::DELETE_RECEIPT_SUBSCRIPTION, [id.raw()])? > 0;
        if existed {
            self.drop_receipts(id, self.greatest.seq)?;
        }
        Ok(existed)
    }

    /// Deletes receipts, and leaves what is too much for one transaction to the sweep.
    fn drop_receipts(&mut self, of: ReceiptSubscriptionId, up_to: i64) -> rusqlite::Result<()> {
        let deleted = self.run(sql::DELETE_RECEIPTS, params![of.raw(), up_to, SWEEP_MAX])?;
        if deleted >= SWEEP_MAX as usize {
            self.run(sql::NOTE_TAKEN, [of.raw(), up_to])?;
        }
        self.lately.untaken.forget(of);
        Ok(())
    }

    /// Deletes up to `max` receipts that count as taken; answers whether there may be more.
    pub(super) fn sweep_taken(&mut self, max: u32) -> rusqlite::Result<bool> {
        let first = self.conn.prepare_cached(sql::FIRST_TAKEN)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some((of, up_to)): Option<(i64, i64)> = first.optional()? else { return Ok(false) };
        if self.run(sql::DELETE_RECEIPTS, params![of, up_to, max])? < max as usize {
            self.run(sql::FORGET_TAKEN, [of])?;
        }
        Ok(true)
    }

    /// What is known of a receipt subscription, counted if it is not remembered. `None`: there is none.
    fn untaken(&mut self, id: ReceiptSubscriptionId) -> rusqlite::Result<Option<&mut Untaken>> {
        if self.lately.untaken.get(id).is_none() {
            let mut count = self.conn.prepare_cached(sql::UNTAKEN)?;
            let counted = count.query_row([id.raw()], |row| {
                Ok(Untaken { last_used: UnixMs::from_millis(row.get(0)?), receipts: row.get(1)? })
            });
            let Some(counted) = counted.optional()? else { return Ok(None) };
            self.lately.untaken.insert(id, counted);
        }
        Ok(self.lately.untaken.get(id))
    }
}
