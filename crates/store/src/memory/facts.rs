//! What the rules ask of the memory engine: it knows everything, and each change is made at once.

use std::collections::BTreeMap;

use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;

use super::rows::{Agent, ReceiptSubscription, Rows};
use crate::engine::expiry_bucket;
use crate::figures::Ended;
use crate::model::{ClockRecord, NewMessage, Receipt, Subscription};
use crate::quota::Usage;
use crate::rules::{AgentFact, Facts, IdleKind, MessageFact, Missing, ReceiptSubscriptionFact, SubscriptionFact};
use crate::totals::Totals;

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("the bounds of the store are below")
}

impl Rows {
    fn existing(&mut self, agent: AgentId) -> &mut Agent {
        self.agents.get_mut(&agent).expect("the rules asked for it before")
    }

    fn subscription_fact(&self, id: SubscriptionId) -> Option<SubscriptionFact> {
        let row = self.subscriptions.get(&id)?;
        Some(SubscriptionFact { agent: row.agent, channel: row.channel.clone() })
    }

    fn fact_of_message(&self, id: MessageId) -> MessageFact {
        (&self.messages[&id]).into()
    }
}

impl Facts for Rows {
    fn agent(&mut self, id: AgentId) -> Result<Option<AgentFact>, Missing> {
        Ok(self.agents.get(&id).map(|agent| AgentFact {
            last_seen: agent.last_seen,
            used: agent.used,
            subscriptions: count(agent.subscriptions.len()),
        }))
    }

    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<SubscriptionFact>, Missing> {
        Ok(self.subscription_fact(id))
    }

    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<(SubscriptionId, SubscriptionFact)>, Missing> {
        let ids = self.agents.get(&agent).into_iter().flat_map(|agent| &agent.subscriptions);
        let fact = |id: &SubscriptionId| (*id, self.subscription_fact(*id).expect("an agent lists its subscriptions"));
        Ok(ids.map(fact).collect())
    }

    fn channel_is_taken(&mut self, agent: AgentId, channel: &str) -> Result<bool, Missing> {
        Ok(self.subscription_of_channel(agent, channel).is_some())
    }

    fn message(&mut self, id: MessageId) -> Result<Option<MessageFact>, Missing> {
        Ok(self.messages.get(&id).map(MessageFact::from))
    }

    fn message_of_topic(&mut self, of: SubscriptionId, topic: &Topic) -> Result<Option<MessageFact>, Missing> {
        Ok(self.topics.get(&(of, topic.clone())).map(|id| self.fact_of_message(*id)))
    }

    fn messages_of(&mut self, agent: AgentId) -> Result<Vec<MessageFact>, Missing> {
        Ok(self.agents[&agent].messages.iter().map(|id| self.fact_of_message(*id)).collect())
    }

    fn usage(&mut self, agent: AgentId) -> Result<&mut Usage, Missing> {
        Ok(&mut self.existing(agent).usage)
    }

    fn usage_if_known(&mut self, agent: AgentId) -> Option<&mut Usage> {
        Some(&mut self.existing(agent).usage)
    }

    fn receipt_subscription(&mut self, id: ReceiptSubscriptionId) -> Result<Option<ReceiptSubscriptionFact>, Missing> {
        Ok(self.receipt_subscriptions.get(&id).map(|row| ReceiptSubscriptionFact {
            last_used: row.last_used,
            used: row.used,
            untaken: count(row.untaken.len()),
        }))
    }

    fn totals(&mut self) -> &mut Totals {
        &mut self.totals
    }

    fn ended(&mut self) -> &mut Ended {
        &mut self.ended
    }

    fn idle_agents(&mut self, kind: IdleKind, before: UnixMs, max: usize) -> Result<Vec<AgentId>, Missing> {
        let is_meant = |agent: &Agent| match kind {
            IdleKind::Any => true,
            IdleKind::Empty => agent.subscriptions.is_empty(),
            IdleKind::Unused => !agent.used,
        };
        let meant = self.agents.iter().filter(|(_, agent)| is_meant(agent));
        Ok(longest_idle(meant.map(|(id, agent)| (agent.last_seen, *id)), before, max))
    }

    fn idle_receipt_subscriptions(
        &mut self,
        unused: bool,
        before: UnixMs,
        max: usize,
    ) -> Result<Vec<ReceiptSubscriptionId>, Missing> {
        let meant = self.receipt_subscriptions.iter().filter(|(_, row)| !(unused && row.used));
        Ok(longest_idle(meant.map(|(id, row)| (row.last_used, *id)), before, max))
    }

    fn expired_exactly(&mut self, now: UnixMs, max: usize) -> Result<Vec<MessageFact>, Missing> {
        let expired = self.by_exact_expiry.iter().take_while(|(at, _)| *at <= now).take(max);
        Ok(expired.map(|(_, id)| self.fact_of_message(*id)).collect())
    }

    fn expired_spans(&mut self, now: UnixMs, max: usize) -> Result<Vec<MessageFact>, Missing> {
        let least = MessageId::from_raw(i64::MIN);
        let past = self.by_expiry.range(..(expiry_bucket(now), least)).take(max);
        Ok(past.map(|(_, id)| self.fact_of_message(*id)).collect())
    }

    fn insert_agent(&mut self, id: AgentId, new: AgentFact) {
        self.agents.insert(id, Agent { last_seen: new.last_seen, used: new.used, ..Agent::default() });
    }

    fn change_agent(&mut self, id: AgentId, changed: AgentFact) {
        let agent = self.existing(id);
        (agent.last_seen, agent.used) = (changed.last_seen, changed.used);
    }

    fn remove_agent(&mut self, id: AgentId) {
        let removed = self.agents.remove(&id).expect("the rules asked for it before");
        debug_assert!(removed.messages.is_empty() && removed.subscriptions.is_empty(), "these go first");
    }

    fn insert_subscription(&mut self, new: &Subscription) {
        self.existing(new.agent).subscriptions.insert(new.id);
        self.subscriptions.insert(new.id, new.clone());
    }

    fn remove_subscription(&mut self, id: SubscriptionId, removed: &SubscriptionFact) {
        self.existing(removed.agent).subscriptions.remove(&id);
        self.subscriptions.remove(&id);
    }

    fn insert_message(&mut self, new: &NewMessage) {
        self.add_message(new);
    }

    fn remove_message(&mut self, removed: &MessageFact) {
        self.drop_message(removed.id);
    }

    fn insert_receipt_subscription(&mut self, id: ReceiptSubscriptionId, new: ReceiptSubscriptionFact) {
        let row = ReceiptSubscription { last_used: new.last_used, used: new.used, untaken: BTreeMap::new() };
        self.receipt_subscriptions.insert(id, row);
    }

    fn change_receipt_subscription(&mut self, id: ReceiptSubscriptionId, changed: ReceiptSubscriptionFact) {
        let row = self.receipt_subscriptions.get_mut(&id).expect("the rules asked for it before");
        (row.last_used, row.used) = (changed.last_used, changed.used);
    }

    fn remove_receipt_subscription(&mut self, id: ReceiptSubscriptionId) {
        self.receipt_subscriptions.remove(&id);
    }

    fn insert_receipt(&mut self, of: ReceiptSubscriptionId, receipt: Receipt) {
        let row = self.receipt_subscriptions.get_mut(&of).expect("the rules asked for it before");
        row.untaken.insert(receipt.seq, receipt);
    }

    fn remove_receipts(&mut self, of: ReceiptSubscriptionId, up_to: i64) -> Result<u32, Missing> {
        let row = self.receipt_subscriptions.get_mut(&of).expect("the rules asked for it before");
        let before = row.untaken.len();
        row.untaken.retain(|seq, _| *seq > up_to);
        Ok(count(before - row.untaken.len()))
    }

    fn note_clock(&mut self, record: &ClockRecord) {
        self.clock = record.clone();
    }

    fn note_id(&mut self, id: i64) {
        self.greatest_id = self.greatest_id.max(id);
    }

    fn next_seq(&mut self, _of: ReceiptSubscriptionId) -> i64 {
        self.greatest_seq += 1;
        self.greatest_seq
    }
}

/// The first `max` that were idle since before a moment.
fn longest_idle<T: Ord>(all: impl Iterator<Item = (UnixMs, T)>, before: UnixMs, max: usize) -> Vec<T> {
    let mut idle: Vec<_> = all.filter(|(last, _)| *last < before).collect();
    idle.sort_unstable();
    idle.into_iter().take(max).map(|(_, id)| id).collect()
}
