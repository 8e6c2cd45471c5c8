//! The mailboxes in memory: those of agents that are connected or have requests in progress.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use doorbell_mailbox::{Mailbox, Rules, SubscriberId};
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use super::bodies::Bodies;
use super::message::Message;
use super::outbox::Outbox;
use crate::counts::AgentDoor;

/// One agent in memory.
pub(super) struct Resident {
    pub(super) mailbox: Mailbox,
    /// Almost always one: a set's GET, or a WebSocket.
    pub(super) subscribers: Vec<OpenSubscriber>,
    /// Messages that exist only here: those with TTL 0, until the mailbox releases them.
    pub(super) transients: Vec<Transient>,
    /// When the store last noted that the agent is in use.
    pub(super) touched: UnixMs,
    alarm: Option<UnixMs>,
}

/// One delivery stream.
pub(super) struct OpenSubscriber {
    pub(super) id: SubscriberId,
    pub(super) outbox: Arc<Outbox>,
    /// An agent has one of this kind: the next replaces it.
    pub(super) exclusive: bool,
    /// It watches, and carries no message.
    pub(super) watches: bool,
    /// It takes what there is, and waits for nothing.
    pub(super) drains: bool,
    pub(super) door: AgentDoor,
}

/// A message that is not in the store.
pub(super) struct Transient {
    pub(super) message: Arc<Message>,
    /// Where its outcome is reported, if its sender wants a receipt.
    pub(super) receipt: Option<ReceiptSubscriptionId>,
    /// Its outcome, if it ended now.
    pub(super) outcome: Outcome,
}

/// All agents of one shard in memory, and when each wants to be woken.
pub(super) struct Residents {
    rules: Rules,
    /// Boxed, because a hash table has empty places.
    agents: HashMap<AgentId, Box<Resident>>,
    alarms: BTreeSet<(UnixMs, AgentId)>,
}

impl Resident {
    pub(super) fn add(&mut self, subscriber: OpenSubscriber) {
        debug_assert!(self.outbox(subscriber.id).is_none(), "the hub uses each subscriber's id once");
        // Most agents have one, for hours.
        self.subscribers.reserve_exact(1);
        self.subscribers.push(subscriber);
    }

    /// Whether a message that comes in may be sent at once.
    pub(super) fn is_connected(&self) -> bool {
        self.subscribers.iter().any(|open| !open.watches)
    }

    pub(super) fn outbox(&self, subscriber: SubscriberId) -> Option<&Arc<Outbox>> {
        self.subscribers.iter().find(|open| open.id == subscriber).map(|open| &open.outbox)
    }

    /// The memory of its messages that are not in the store.
    pub(super) fn transient_bytes(&self) -> usize {
        self.transients.iter().map(|transient| Bodies::size(&transient.message.body)).sum()
    }

    pub(super) fn transient(&mut self, id: MessageId) -> Option<&mut Transient> {
        self.transients.iter_mut().find(|transient| transient.message.id == id)
    }
}

impl Residents {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, agents: HashMap::new(), alarms: BTreeSet::new() }
    }

    /// Changes the rules of the mailboxes that come. One in memory keeps its own: its waits are by them.
    pub(super) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// The agent's mailbox; created if it is not in memory.
    pub(super) fn enter(&mut self, agent: AgentId) -> &mut Resident {
        let rules = self.rules;
        let fresh = || {
            Box::new(Resident {
                mailbox: Mailbox::new(rules),
                subscribers: Vec::new(),
                transients: Vec::new(),
                touched: UnixMs::default(),
                alarm: None,
            })
        };
        self.agents.entry(agent).or_insert_with(fresh)
    }

    pub(super) fn get_mut(&mut self, agent: AgentId) -> Option<&mut Resident> {
        self.agents.get_mut(&agent).map(Box::as_mut)
    }

    /// The agent's mailbox; the caller knows that it is in memory.
    pub(super) fn entered(&mut self, agent: AgentId) -> &mut Resident {
        self.get_mut(agent).expect("a shard performs effects of residents only")
    }

    /// Notes when the mailbox wants to be woken. If the store has everything that it has, drops the mailbox.
    pub(super) fn leave(&mut self, agent: AgentId) {
        let resident = self.agents.get_mut(&agent).expect("the shard has just passed an input to this mailbox");
        let keep = !resident.mailbox.is_idle() || !resident.subscribers.is_empty();
        let alarm = resident.mailbox.next_deadline().filter(|_| keep);
        if alarm != resident.alarm {
            if let Some(at) = alarm {
                let is_new = self.alarms.insert((at, agent));
                debug_assert!(is_new, "an agent has one alarm, and this one is new");
            }
            if let Some(at) = std::mem::replace(&mut resident.alarm, alarm) {
                let was_there = self.alarms.remove(&(at, agent));
                debug_assert!(was_there, "a resident's alarm is in the index");
            }
        }
        if !keep {
            debug_assert!(resident.transients.is_empty(), "an idle mailbox has released its transient messages");
            self.agents.remove(&agent);
        }
        debug_assert!(self.alarms.len() <= self.agents.len(), "only residents have an alarm, and each has one");
    }

    /// The first moment at which a mailbox wants to be woken.
    pub(super) fn next_alarm(&self) -> Option<UnixMs> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// An agent whose alarm is due.
    pub(super) fn due(&self, now: UnixMs) -> Option<AgentId> {
        self.alarms.first().filter(|(at, _)| *at <= now).map(|(_, agent)| *agent)
    }

    /// Connected agents whose last note is from before `moment`, `max` at most.
    pub(super) fn connected_since(
        &mut self,
        moment: UnixMs,
        max: usize,
    ) -> impl Iterator<Item = (AgentId, &mut Resident)> {
        let connected = move |r: &Resident| !r.subscribers.is_empty() && r.touched < moment;
        self.agents.iter_mut().filter(move |(_, r)| connected(r)).map(|(agent, r)| (*agent, &mut **r)).take(max)
    }

    pub(super) fn all_outboxes(&self) -> impl Iterator<Item = &Arc<Outbox>> {
        self.agents.values().flat_map(|resident| &resident.subscribers).map(|open| &open.outbox)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_agent_takes_no_more_memory_because_others_are_watched() {
        // An allocator hands out steps of 16 bytes, of which it keeps 8 for itself.
        assert!(size_of::<Resident>() <= 168, "{} bytes", size_of::<Resident>());
    }
}
