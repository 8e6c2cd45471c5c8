//! Receipts (RFC 8030 s5.1): added when their message ends, removed when they are taken.

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use super::{Facts, MessageFact, ReceiptSubscriptionFact, Rules, Stop, each_once};
use crate::error::StoreError;
use crate::model::{Erased, Receipt};
use crate::totals::lower;

impl<F: Facts> Rules<'_, F> {
    pub(super) fn create_receipt_subscription(
        &mut self,
        id: ReceiptSubscriptionId,
        served: UnixMs,
    ) -> Result<(), Stop> {
        if self.facts.receipt_subscription(id)?.is_some() {
            return Err(StoreError::IdTaken.into());
        }
        let totals = self.facts.totals();
        totals.check_receipt_subscription(self.limits)?;
        totals.receipt_subscriptions += 1;
        totals.unused_receipt_subscriptions += 1;
        let new = ReceiptSubscriptionFact { last_used: served, used: false, untaken: 0 };
        self.facts.insert_receipt_subscription(id, new);
        self.facts.note_id(id.raw());
        Ok(())
    }

    pub(super) fn join_receipt_subscription(&mut self, id: ReceiptSubscriptionId, served: UnixMs) -> Result<(), Stop> {
        if self.use_receipt_subscription(id, served)?.is_some() {
            return Ok(());
        }
        let totals = self.facts.totals();
        totals.check_joining(self.limits)?;
        totals.receipt_subscriptions += 1;
        let new = ReceiptSubscriptionFact { last_used: served, used: true, untaken: 0 };
        self.facts.insert_receipt_subscription(id, new);
        self.facts.note_id(id.raw());
        Ok(())
    }

    /// Refuses a write that needs a receipt in a receipt subscription without room for it.
    pub(super) fn check_receipts(&mut self, of: ReceiptSubscriptionId) -> Result<(), Stop> {
        let known = self.facts.receipt_subscription(of)?.ok_or(StoreError::NoReceiptSubscription)?;
        if known.untaken >= self.limits.receipts_per_subscription_max {
            return Err(StoreError::ReceiptsFull.into());
        }
        Ok(())
    }

    /// Counts how removed messages ended, and adds the receipts of those that want one. Returns the receipt
    /// subscriptions, each once.
    pub(super) fn add_receipts(
        &mut self,
        mut removed: Vec<MessageFact>,
        outcome: Outcome,
        now: UnixMs,
    ) -> Result<Vec<ReceiptSubscriptionId>, Stop> {
        removed.sort_unstable_by_key(|message| message.id);
        let mut changed = Vec::new();
        for message in removed {
            let expired = message.expires_at <= now;
            let (outcome, at) = if expired { (Outcome::Expired, message.expires_at) } else { (outcome, now) };
            self.facts.ended().add(outcome);
            let Some(of) = message.receipt else { continue };
            if self.insert_receipt(of, message.id, message.agent, outcome, at)? {
                changed.push(of);
            }
        }
        Ok(each_once(changed))
    }

    pub(super) fn add_receipt(
        &mut self,
        of: ReceiptSubscriptionId,
        message: MessageId,
        agent: AgentId,
        outcome: Outcome,
        now: UnixMs,
    ) -> Result<(), Stop> {
        self.check_receipts(of)?;
        self.insert_receipt(of, message, agent, outcome, now)?;
        self.facts.note_id(message.raw());
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
    ) -> Result<bool, Stop> {
        let Some(known) = self.facts.receipt_subscription(of)? else { return Ok(false) };
        self.facts.totals().receipts += 1;
        let seq = self.facts.next_seq(of);
        let untaken = known.untaken.saturating_add(1);
        self.facts.change_receipt_subscription(of, ReceiptSubscriptionFact { untaken, ..known });
        self.facts.insert_receipt(of, Receipt { seq, cell: 0, message, agent, outcome, at });
        Ok(true)
    }

    /// Records a use of a receipt subscription. `None`: it does not exist.
    pub(super) fn use_receipt_subscription(
        &mut self,
        id: ReceiptSubscriptionId,
        served: UnixMs,
    ) -> Result<Option<ReceiptSubscriptionFact>, Stop> {
        let Some(mut known) = self.facts.receipt_subscription(id)? else { return Ok(None) };
        if self.limits.is_later_use(known.last_used, served) {
            known.last_used = served;
            self.facts.change_receipt_subscription(id, known);
        }
        Ok(Some(known))
    }

    pub(super) fn take_receipts(
        &mut self,
        of: ReceiptSubscriptionId,
        up_to: i64,
        served: UnixMs,
    ) -> Result<Erased, Stop> {
        let Some(known) = self.use_receipt_subscription(of, served)? else { return Ok(Erased::default()) };
        let taken = self.facts.remove_receipts(of, up_to)?;
        debug_assert!(taken <= known.untaken, "what is taken was counted");
        let untaken = known.untaken.saturating_sub(taken);
        self.facts.change_receipt_subscription(of, ReceiptSubscriptionFact { used: true, untaken, ..known });
        let totals = self.facts.totals();
        lower(&mut totals.unused_receipt_subscriptions, u64::from(!known.used));
        lower(&mut totals.receipts, u64::from(taken));
        Ok(Erased { existed: true, receipt: None })
    }

    pub(super) fn delete_receipt_subscription(&mut self, id: ReceiptSubscriptionId) -> Result<Erased, Stop> {
        let Some(known) = self.facts.receipt_subscription(id)? else { return Ok(Erased::default()) };
        let totals = self.facts.totals();
        totals.remove_receipt_subscription(known.used);
        lower(&mut totals.receipts, u64::from(known.untaken));
        self.facts.remove_receipt_subscription(id);
        Ok(Erased { existed: true, receipt: None })
    }
}
