//! The working set of a batch: what was read for it, what it changes, and what must be read first.

use std::collections::{HashMap, HashSet};

use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;

use super::known::{Change, Known, Rows};
use crate::engine::Write;
use crate::figures::Ended;
use crate::model::{ClockRecord, NewMessage, Receipt, Subscription};
use crate::quota::Usage;
use crate::rules::{AgentFact, Facts, IdleKind, MessageFact, ReceiptSubscriptionFact, SubscriptionFact};
use crate::totals::Totals;

/// What a batch leaves behind beside its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) totals: Totals,
    /// How messages ended since the engine was opened.
    pub(super) ended: Ended,
    /// The greatest id that was ever committed.
    pub(super) id: i64,
    /// The greatest number of a receipt.
    pub(super) seq: i64,
}

/// What the rules asked for and was not known.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) agents: HashSet<AgentId>,
    pub(super) subscriptions: HashSet<SubscriptionId>,
    pub(super) messages: HashSet<MessageId>,
    pub(super) receipt_subscriptions: HashSet<ReceiptSubscriptionId>,
    pub(super) topics: HashSet<(SubscriptionId, Topic)>,
    pub(super) channels: HashSet<(AgentId, String)>,
    pub(super) messages_of: HashSet<AgentId>,
    pub(super) subscriptions_of: HashSet<AgentId>,
    pub(super) receipts_up_to: HashSet<(ReceiptSubscriptionId, i64)>,
    pub(super) idle_agents: Option<(IdleKind, UnixMs)>,
    pub(super) idle_receipt_subscriptions: Option<(bool, UnixMs)>,
    pub(super) expired_exactly: Option<UnixMs>,
    pub(super) expired_spans: Option<UnixMs>,
}

/// Lists that were read for a part of a batch. They are as the database had them before it.
#[derive(Default)]
pub(super) struct Lists {
    pub(super) topics: HashMap<(SubscriptionId, Topic), Option<MessageFact>>,
    pub(super) channels: HashMap<(AgentId, String), bool>,
    pub(super) messages_of: HashMap<AgentId, Vec<MessageFact>>,
    pub(super) subscriptions_of: HashMap<AgentId, Vec<(SubscriptionId, SubscriptionFact)>>,
    pub(super) receipts_up_to: HashMap<(ReceiptSubscriptionId, i64), u32>,
    pub(super) idle_agents: HashMap<(IdleKind, UnixMs), Vec<AgentId>>,
    pub(super) idle_receipt_subscriptions: HashMap<(bool, UnixMs), Vec<ReceiptSubscriptionId>>,
    pub(super) expired_exactly: HashMap<UnixMs, Vec<MessageFact>>,
    pub(super) expired_spans: HashMap<UnixMs, Vec<MessageFact>>,
}

/// What a part of a batch changes that is no row of a table that is looked up by id.
#[derive(Default)]
pub(super) struct Changes<'a> {
    pub(super) messages: HashMap<MessageId, &'a NewMessage>,
    pub(super) subscriptions: HashMap<SubscriptionId, &'a Subscription>,
    pub(super) receipts: HashMap<ReceiptSubscriptionId, Vec<Receipt>>,
    /// Receipts that are deleted up to a number, and how many those are.
    pub(super) taken: HashMap<ReceiptSubscriptionId, (i64, u32)>,
    pub(super) clock: Option<&'a ClockRecord>,
    pub(super) topics: HashMap<(SubscriptionId, Topic), Option<MessageFact>>,
    pub(super) channels: HashMap<(AgentId, String), bool>,
}

pub(super) struct Working<'a> {
    pub(super) known: &'a mut Known,
    pub(super) agents: Rows<AgentId, AgentFact>,
    pub(super) usage: Rows<AgentId, Usage>,
    pub(super) subscriptions: Rows<SubscriptionId, SubscriptionFact>,
    pub(super) messages: Rows<MessageId, MessageFact>,
    pub(super) receipt_subscriptions: Rows<ReceiptSubscriptionId, ReceiptSubscriptionFact>,
    pub(super) lists: Lists,
    pub(super) changes: Changes<'a>,
    pub(super) wanted: Wanted,
    pub(super) sums: Sums,
    /// As they were before this part of the batch.
    pub(super) before: Sums,
    /// The write that is decided.
    pub(super) write: Option<&'a Write>,
}

impl<'a> Working<'a> {
    pub(super) fn new(known: &'a mut Known, sums: Sums) -> Self {
        Self {
            known,
            agents: Rows::new(),
            usage: Rows::new(),
            subscriptions: Rows::new(),
            messages: Rows::new(),
            receipt_subscriptions: Rows::new(),
            lists: Lists::default(),
            changes: Changes::default(),
            wanted: Wanted::default(),
            sums,
            before: sums,
            write: None,
        }
    }

    pub(super) fn begin(&mut self, write: &'a Write) {
        self.write = Some(write);
    }

    /// Drops all decisions since the last part, which count for nothing.
    pub(super) fn start_again(&mut self) {
        self.agents.changed.clear();
        self.usage.changed.clear();
        self.subscriptions.changed.clear();
        self.messages.changed.clear();
        self.receipt_subscriptions.changed.clear();
        self.changes = Changes::default();
        self.sums = self.before;
    }

    /// The changes of this part were written.
    pub(super) fn next_part(&mut self) {
        self.agents.note_written();
        self.usage.note_written();
        self.subscriptions.note_written();
        self.messages.note_written();
        self.receipt_subscriptions.note_written();
        self.changes = Changes::default();
        self.lists = Lists::default();
        self.before = self.sums;
    }

    /// The batch was committed.
    pub(super) fn settle(self) -> Sums {
        self.agents.settle(&mut self.known.agents);
        self.usage.settle(&mut self.known.usage);
        self.subscriptions.settle(&mut self.known.subscriptions);
        self.messages.settle(&mut self.known.messages);
        self.receipt_subscriptions.settle(&mut self.known.receipt_subscriptions);
        self.sums
    }

    pub(super) fn loaded_agent(&mut self, id: AgentId, row: Option<(AgentFact, Usage)>) {
        self.usage.loaded.insert(id, row.map(|(_, usage)| usage));
        self.agents.loaded.insert(id, row.map(|(agent, _)| agent));
    }

    /// Asks for what `write` names, so that all of it is read together.
    pub(super) fn want(&mut self, write: &Write) {
        match write {
            Write::CreateAgent { id, .. } | Write::Touch { agent: id, .. } => drop(self.agent(*id)),
            Write::CreateSubscription(new) => {
                drop((self.agent(new.agent), self.subscription(new.id)));
                if let Some(channel) = &new.channel {
                    drop(self.channel_is_taken(new.agent, channel));
                }
            }
            Write::Append(new) => {
                drop((self.subscription(new.subscription), self.agent(new.agent), self.message(new.id)));
                drop(self.usage(new.agent).map(|_| ()));
                if let Some(receipt) = new.receipt {
                    drop(self.receipt_subscription(receipt));
                }
                if let Some(topic) = &new.topic {
                    drop(self.message_of_topic(new.subscription, topic));
                }
            }
            Write::Erase { id, .. } => drop(self.message(*id)),
            Write::DeleteSubscription { id, agent, .. } => {
                drop((self.subscription(*id), self.agent(*agent), self.messages_of(*agent)));
            }
            Write::DeleteAgent { id, .. } => {
                drop((self.agent(*id), self.messages_of(*id), self.subscriptions_of(*id)));
            }
            Write::CreateReceiptSubscription { id, .. }
            | Write::AddReceipt { receipt_subscription: id, .. }
            | Write::JoinReceiptSubscription { id, .. }
            | Write::UseReceiptSubscription { id, .. }
            | Write::DeleteReceiptSubscription { id } => drop(self.receipt_subscription(*id)),
            Write::TakeReceipts { receipt_subscription: id, up_to, .. } => {
                drop(self.receipt_subscription(*id));
                if *up_to < self.before.seq && *up_to > 0 {
                    self.wanted.receipts_up_to.insert((*id, *up_to));
                }
            }
            Write::NoteClock(_) | Write::ExpireIdle(_) | Write::ExpireUnused(_) | Write::Sweep { .. } => {}
        }
    }

    /// A row with a greater id than all that were committed is not there.
    pub(super) fn is_unused(&self, id: i64) -> bool {
        id > self.before.id
    }

    /// The agent is new in this batch: the database has nothing of it.
    pub(super) fn is_new(&self, agent: AgentId) -> bool {
        self.agents.changed.get(&agent).is_some_and(Change::is_new)
    }

    pub(super) fn is_there(&self, message: &MessageFact) -> bool {
        !self.messages.changed.contains_key(&message.id)
    }

    /// The first `max` of what was found that are still there.
    pub(super) fn left(&self, found: &[MessageFact], max: usize) -> Vec<MessageFact> {
        found.iter().filter(|message| self.is_there(message)).take(max).cloned().collect()
    }
}
