//! The consistency of the memory engine: its indexes and counts must agree with its rows.

use std::collections::BTreeSet;

use super::rows::Rows;
use crate::engine::expiry_bucket;
use crate::quota::Usage;
use crate::totals::Totals;

impl Rows {
    pub(super) fn assert_consistent(&self) {
        self.assert_each_message_is_indexed();
        self.assert_indexes_hold_nothing_else();
        self.assert_agents_own_what_they_list();
        self.assert_receipts_have_their_numbers();
        assert_eq!(self.totals, self.counted(), "the totals are what the rows add up to");
    }

    fn counted(&self) -> Totals {
        Totals {
            agents: self.agents.len() as u64,
            unused_agents: self.agents.values().filter(|agent| !agent.used).count() as u64,
            subscriptions: self.subscriptions.len() as u64,
            messages: self.messages.len() as u64,
            message_bytes: self.messages.values().map(|message| u64::from(message.size())).sum(),
            receipts: self.receipt_subscriptions.values().map(|subscription| subscription.untaken.len() as u64).sum(),
            receipt_subscriptions: self.receipt_subscriptions.len() as u64,
            unused_receipt_subscriptions: self.receipt_subscriptions.values().filter(|s| !s.used).count() as u64,
        }
    }

    fn assert_each_message_is_indexed(&self) {
        for (id, message) in &self.messages {
            assert_eq!(*id, message.id, "a message is stored under its id");
            let subscription = &self.subscriptions[&message.subscription];
            assert_eq!(subscription.agent, message.agent, "a message belongs to the agent of its subscription");
            assert!(self.agents[&message.agent].messages.contains(id), "an agent lists its messages");
            let bucket = expiry_bucket(message.expires_at);
            assert!(self.by_expiry.contains(&(bucket, *id)), "the sweep finds each message");
            let is_exact = self.by_exact_expiry.contains(&(message.expires_at, *id));
            assert_eq!(is_exact, message.receipt.is_some(), "the exact sweep finds the messages that want a receipt");
            if let Some(topic) = &message.topic {
                let of_topic = self.topics.get(&(message.subscription, topic.clone()));
                assert_eq!(of_topic, Some(id), "a topic leads to its one message");
            }
            assert!(id.raw() <= self.greatest_id, "no id is above the greatest");
        }
    }

    /// With [`Self::assert_each_message_is_indexed`], the sizes show that no index has an entry too many.
    fn assert_indexes_hold_nothing_else(&self) {
        let count = |has: fn(&crate::NewMessage) -> bool| self.messages.values().filter(|message| has(message)).count();
        assert_eq!(self.by_expiry.len(), self.messages.len());
        assert_eq!(self.by_exact_expiry.len(), count(|message| message.receipt.is_some()));
        assert_eq!(self.topics.len(), count(|message| message.topic.is_some()));
        assert_eq!(self.agents.values().map(|agent| agent.messages.len()).sum::<usize>(), self.messages.len());
    }

    fn assert_agents_own_what_they_list(&self) {
        for (id, agent) in &self.agents {
            let mut counted = Usage::default();
            agent.messages.iter().map(|id| &self.messages[id]).for_each(|m| counted.add(m.size(), m.expires_at));
            assert_eq!((agent.usage.messages, agent.usage.bytes), (counted.messages, counted.bytes), "usage is a sum");
            assert!(agent.usage.expires_from <= counted.expires_from, "nothing expires before that moment");
            let own = self.subscriptions.values().filter(|subscription| subscription.agent == *id);
            let own: BTreeSet<_> = own.map(|subscription| subscription.id).collect();
            assert_eq!(agent.subscriptions, own, "an agent lists its subscriptions");
        }
        let listed: usize = self.agents.values().map(|agent| agent.subscriptions.len()).sum();
        assert_eq!(listed, self.subscriptions.len(), "each subscription has an agent");
    }

    fn assert_receipts_have_their_numbers(&self) {
        let receipts = self.receipt_subscriptions.values().flat_map(|subscription| &subscription.untaken);
        let seqs: Vec<_> =
            receipts.inspect(|(seq, receipt)| assert_eq!(**seq, receipt.seq)).map(|(seq, _)| *seq).collect();
        assert!(seqs.iter().all(|seq| (1..=self.greatest_seq).contains(seq)), "numbers begin at 1 and only rise");
        assert_eq!(seqs.iter().collect::<BTreeSet<_>>().len(), seqs.len(), "no number is used twice");
    }
}
