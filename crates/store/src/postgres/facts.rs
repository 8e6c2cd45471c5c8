//! The rules' questions, answered out of the working set; what is not in it is asked for.

use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;

use super::known::Change;
use super::working::Working;
use crate::engine::Write;
use crate::figures::Ended;
use crate::model::{ClockRecord, NewMessage, Receipt, Subscription};
use crate::quota::Usage;
use crate::rules::{AgentFact, Facts, IdleKind, MessageFact, Missing, ReceiptSubscriptionFact, SubscriptionFact};
use crate::totals::Totals;

impl Facts for Working<'_> {
    fn agent(&mut self, id: AgentId) -> Result<Option<AgentFact>, Missing> {
        match self.agents.get(&mut self.known.agents, id) {
            Some(row) => Ok(row),
            None if self.is_unused(id.raw()) => Ok(None),
            None => {
                self.wanted.agents.insert(id);
                Err(Missing)
            }
        }
    }

    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<SubscriptionFact>, Missing> {
        match self.subscriptions.get(&mut self.known.subscriptions, id) {
            Some(row) => Ok(row),
            None if self.is_unused(id.raw()) => Ok(None),
            None => {
                self.wanted.subscriptions.insert(id);
                Err(Missing)
            }
        }
    }

    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<(SubscriptionId, SubscriptionFact)>, Missing> {
        let stored = match self.lists.subscriptions_of.get(&agent) {
            Some(stored) => &stored[..],
            None if self.is_new(agent) => &[],
            None => {
                self.wanted.subscriptions_of.insert(agent);
                return Err(Missing);
            }
        };
        let changed = &self.subscriptions.changed;
        let mut all: Vec<_> = stored.iter().filter(|(id, _)| !changed.contains_key(id)).cloned().collect();
        let new = changed.iter().filter_map(|(id, change)| Some((*id, change.now.clone()?)));
        all.extend(new.filter(|(_, subscription)| subscription.agent == agent));
        all.sort_unstable_by_key(|(id, _)| *id);
        Ok(all)
    }

    fn channel_is_taken(&mut self, agent: AgentId, channel: &str) -> Result<bool, Missing> {
        let key = (agent, channel.to_owned());
        if let Some(taken) = self.changes.channels.get(&key).or_else(|| self.lists.channels.get(&key)) {
            return Ok(*taken);
        }
        if self.is_new(agent) {
            return Ok(false);
        }
        self.wanted.channels.insert(key);
        Err(Missing)
    }

    fn message(&mut self, id: MessageId) -> Result<Option<MessageFact>, Missing> {
        match self.messages.get(&mut self.known.messages, id) {
            Some(row) => Ok(row),
            None if self.is_unused(id.raw()) => Ok(None),
            None => {
                self.wanted.messages.insert(id);
                Err(Missing)
            }
        }
    }

    fn message_of_topic(&mut self, of: SubscriptionId, topic: &Topic) -> Result<Option<MessageFact>, Missing> {
        let key = (of, topic.clone());
        if let Some(found) = self.changes.topics.get(&key).or_else(|| self.lists.topics.get(&key)) {
            // A removed agent takes its messages along one by one, so this is never one of those.
            return Ok(found.clone());
        }
        if self.subscriptions.changed.get(&of).is_some_and(Change::is_new) {
            return Ok(None);
        }
        self.wanted.topics.insert(key);
        Err(Missing)
    }

    fn messages_of(&mut self, agent: AgentId) -> Result<Vec<MessageFact>, Missing> {
        let stored = match self.lists.messages_of.get(&agent) {
            Some(stored) => &stored[..],
            None if self.is_new(agent) => &[],
            None => {
                self.wanted.messages_of.insert(agent);
                return Err(Missing);
            }
        };
        let mut all = self.left(stored, usize::MAX);
        let new = self.messages.changed.values().filter_map(|change| change.now.clone());
        all.extend(new.filter(|message| message.agent == agent));
        all.sort_unstable_by_key(|message| message.id);
        Ok(all)
    }

    fn usage(&mut self, agent: AgentId) -> Result<&mut Usage, Missing> {
        if self.usage_if_known(agent).is_none() {
            self.wanted.agents.insert(agent);
            return Err(Missing);
        }
        Ok(self.usage_if_known(agent).expect("it was looked up above"))
    }

    fn usage_if_known(&mut self, agent: AgentId) -> Option<&mut Usage> {
        if !self.usage.changed.contains_key(&agent) {
            let usage = self.usage.get(&mut self.known.usage, agent)??;
            self.usage.change(agent, usage);
        }
        self.usage.changed.get_mut(&agent)?.now.as_mut()
    }

    fn receipt_subscription(&mut self, id: ReceiptSubscriptionId) -> Result<Option<ReceiptSubscriptionFact>, Missing> {
        match self.receipt_subscriptions.get(&mut self.known.receipt_subscriptions, id) {
            Some(row) => Ok(row),
            None if self.is_unused(id.raw()) => Ok(None),
            None => {
                self.wanted.receipt_subscriptions.insert(id);
                Err(Missing)
            }
        }
    }

    fn totals(&mut self) -> &mut Totals {
        &mut self.sums.totals
    }

    fn ended(&mut self) -> &mut Ended {
        &mut self.sums.ended
    }

    fn idle_agents(&mut self, kind: IdleKind, before: UnixMs, max: usize) -> Result<Vec<AgentId>, Missing> {
        let Some(found) = self.lists.idle_agents.get(&(kind, before)) else {
            self.wanted.idle_agents = Some((kind, before));
            return Err(Missing);
        };
        let is_there = |id: &&AgentId| self.agents.changed.get(id).is_none_or(|change| change.now.is_some());
        Ok(found.iter().filter(is_there).take(max).copied().collect())
    }

    fn idle_receipt_subscriptions(
        &mut self,
        unused: bool,
        before: UnixMs,
        max: usize,
    ) -> Result<Vec<ReceiptSubscriptionId>, Missing> {
        let Some(found) = self.lists.idle_receipt_subscriptions.get(&(unused, before)) else {
            self.wanted.idle_receipt_subscriptions = Some((unused, before));
            return Err(Missing);
        };
        Ok(found.iter().take(max).copied().collect())
    }

    fn expired_exactly(&mut self, now: UnixMs, max: usize) -> Result<Vec<MessageFact>, Missing> {
        let Some(found) = self.lists.expired_exactly.get(&now) else {
            self.wanted.expired_exactly = Some(now);
            return Err(Missing);
        };
        Ok(self.left(found, max))
    }

    fn expired_spans(&mut self, now: UnixMs, max: usize) -> Result<Vec<MessageFact>, Missing> {
        let Some(found) = self.lists.expired_spans.get(&now) else {
            self.wanted.expired_spans = Some(now);
            return Err(Missing);
        };
        Ok(self.left(found, max))
    }

    fn insert_agent(&mut self, id: AgentId, new: AgentFact) {
        self.agents.insert(id, new);
        self.usage.change(id, Usage::default());
    }

    fn change_agent(&mut self, id: AgentId, changed: AgentFact) {
        self.agents.change(id, changed);
    }

    fn remove_agent(&mut self, id: AgentId) {
        self.agents.remove(id);
        self.usage.remove(id);
    }

    fn insert_subscription(&mut self, new: &Subscription) {
        let Some(Write::CreateSubscription(write)) = self.write else { unreachable!("the write that is decided") };
        debug_assert_eq!(write, new, "the write that is decided");
        if let Some(channel) = &new.channel {
            self.changes.channels.insert((new.agent, channel.clone()), true);
        }
        self.changes.subscriptions.insert(new.id, write);
        let fact = SubscriptionFact { agent: new.agent, channel: new.channel.clone() };
        self.subscriptions.insert(new.id, fact);
    }

    fn remove_subscription(&mut self, id: SubscriptionId, removed: &SubscriptionFact) {
        if let Some(channel) = &removed.channel {
            self.changes.channels.insert((removed.agent, channel.clone()), false);
        }
        self.changes.subscriptions.remove(&id);
        self.subscriptions.remove(id);
    }

    fn insert_message(&mut self, new: &NewMessage) {
        let Some(Write::Append(write)) = self.write else { unreachable!("the write that is decided") };
        debug_assert_eq!(write.id, new.id, "the write that is decided");
        let fact = MessageFact::from(new);
        if let Some(topic) = &new.topic {
            self.changes.topics.insert((new.subscription, topic.clone()), Some(fact.clone()));
        }
        self.changes.messages.insert(new.id, write);
        self.messages.insert(new.id, fact);
    }

    fn remove_message(&mut self, removed: &MessageFact) {
        if let Some(topic) = &removed.topic {
            self.changes.topics.insert((removed.subscription, topic.clone()), None);
        }
        self.changes.messages.remove(&removed.id);
        self.messages.remove(removed.id);
    }

    fn insert_receipt_subscription(&mut self, id: ReceiptSubscriptionId, new: ReceiptSubscriptionFact) {
        self.receipt_subscriptions.insert(id, new);
    }

    fn change_receipt_subscription(&mut self, id: ReceiptSubscriptionId, changed: ReceiptSubscriptionFact) {
        self.receipt_subscriptions.change(id, changed);
    }

    fn remove_receipt_subscription(&mut self, id: ReceiptSubscriptionId) {
        self.receipt_subscriptions.remove(id);
        self.changes.receipts.remove(&id);
        self.changes.taken.remove(&id);
    }

    fn insert_receipt(&mut self, of: ReceiptSubscriptionId, receipt: Receipt) {
        self.changes.receipts.entry(of).or_default().push(receipt);
    }

    fn remove_receipts(&mut self, of: ReceiptSubscriptionId, up_to: i64) -> Result<u32, Missing> {
        let untaken = self.receipt_subscription(of)?.expect("the rules asked for it before").untaken;
        let count = |len: usize| u32::try_from(len).expect("a batch has fewer receipts");
        let new = self.changes.receipts.get(&of).map_or(0, |new| count(new.len()));
        let (taken_up_to, taken) = self.changes.taken.get(&of).copied().unwrap_or((0, 0));
        let has_none = self.receipt_subscriptions.changed.get(&of).is_some_and(Change::is_new);
        let of_stored = if has_none || up_to <= taken_up_to {
            0
        } else if up_to >= self.before.seq {
            untaken.saturating_sub(new)
        } else if let Some(stored) = self.lists.receipts_up_to.get(&(of, up_to)) {
            stored.saturating_sub(taken)
        } else {
            self.wanted.receipts_up_to.insert((of, up_to));
            return Err(Missing);
        };
        if of_stored > 0 {
            self.changes.taken.insert(of, (up_to.min(self.before.seq), taken + of_stored));
        }
        let Some(pending) = self.changes.receipts.get_mut(&of) else { return Ok(of_stored) };
        pending.retain(|receipt| receipt.seq > up_to);
        Ok(of_stored + new - count(pending.len()))
    }

    fn note_clock(&mut self, _record: &ClockRecord) {
        let Some(Write::NoteClock(record)) = self.write else { unreachable!("the write that is decided") };
        self.changes.clock = Some(record);
    }

    fn note_id(&mut self, id: i64) {
        self.sums.id = self.sums.id.max(id);
    }

    fn next_seq(&mut self, _of: ReceiptSubscriptionId) -> i64 {
        self.sums.seq += 1;
        self.sums.seq
    }
}
