//! The mailboxes that are in memory: those of agents that are connected or have something under way.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use doorbell_mailbox::{LinkId, Mailbox, Rules};
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use super::link::Outbox;
use super::message::Message;

/// One agent in memory.
pub(super) struct Resident {
    pub(super) mailbox: Mailbox,
    /// Almost always one: a set's GET, a WebSocket.
    pub(super) links: Vec<OpenLink>,
    /// Messages that are nowhere else: those with TTL 0, until the mailbox releases them.
    pub(super) transients: Vec<Transient>,
    /// When the store was last told that the agent is in use.
    pub(super) touched: UnixMs,
    alarm: Option<UnixMs>,
}

/// One delivery stream.
pub(super) struct OpenLink {
    pub(super) id: LinkId,
    pub(super) outbox: Arc<Outbox>,
    /// Of its kind an agent has one: the next takes its place.
    pub(super) only: bool,
}

/// A message that no store knows.
pub(super) struct Transient {
    pub(super) message: Arc<Message>,
    /// Where its sender wants to hear what became of it.
    pub(super) receipt: Option<ReceiptSubscriptionId>,
    /// What became of it, should it end now.
    pub(super) outcome: Outcome,
}

/// All agents of one shard that are in memory, and when each wants to be woken.
pub(super) struct Residents {
    rules: Rules,
    /// Boxed, because a table has places to spare.
    agents: HashMap<AgentId, Box<Resident>>,
    alarms: BTreeSet<(UnixMs, AgentId)>,
}

impl Resident {
    pub(super) fn outbox(&self, link: LinkId) -> Option<&Arc<Outbox>> {
        self.links.iter().find(|open| open.id == link).map(|open| &open.outbox)
    }

    pub(super) fn transient(&mut self, id: MessageId) -> Option<&mut Transient> {
        self.transients.iter_mut().find(|transient| transient.message.id == id)
    }
}

impl Residents {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, agents: HashMap::new(), alarms: BTreeSet::new() }
    }

    /// The agent's mailbox, made if it is not in memory.
    pub(super) fn enter(&mut self, agent: AgentId) -> &mut Resident {
        let rules = self.rules;
        let fresh = || {
            Box::new(Resident {
                mailbox: Mailbox::new(rules),
                links: Vec::new(),
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

    /// Notes when the mailbox wants to be woken, or forgets it when the store knows all that it knows.
    pub(super) fn leave(&mut self, agent: AgentId) {
        let Some(resident) = self.agents.get_mut(&agent) else { return };
        let keep = !resident.mailbox.is_idle() || !resident.links.is_empty();
        let alarm = resident.mailbox.next_deadline().filter(|_| keep);
        if alarm != resident.alarm {
            self.alarms.extend(alarm.map(|at| (at, agent)));
            if let Some(at) = std::mem::replace(&mut resident.alarm, alarm) {
                self.alarms.remove(&(at, agent));
            }
        }
        if !keep {
            self.agents.remove(&agent);
        }
    }

    /// The first moment at which a mailbox wants to be woken.
    pub(super) fn next_alarm(&self) -> Option<UnixMs> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// An agent whose moment has come.
    pub(super) fn due(&self, now: UnixMs) -> Option<AgentId> {
        self.alarms.first().filter(|(at, _)| *at <= now).map(|(_, agent)| *agent)
    }

    /// Agents that are connected and were last noted as in use before `moment`, `max` at most.
    pub(super) fn connected_since(
        &mut self,
        moment: UnixMs,
        max: usize,
    ) -> impl Iterator<Item = (AgentId, &mut Resident)> {
        let connected = move |r: &Resident| !r.links.is_empty() && r.touched < moment;
        self.agents.iter_mut().filter(move |(_, r)| connected(r)).map(|(agent, r)| (*agent, &mut **r)).take(max)
    }

    pub(super) fn all_links(&self) -> impl Iterator<Item = &Arc<Outbox>> {
        self.agents.values().flat_map(|resident| &resident.links).map(|open| &open.outbox)
    }
}
