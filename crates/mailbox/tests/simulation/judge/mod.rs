//! Watches what goes into a mailbox and what comes out, and knows what must and must not happen.
//!
//! `takes` gets each input before the mailbox does, `sees` judges each effect, `rests` judges the state after each
//! event: safety, and that nothing that could move stands still.

pub(crate) mod facts;
mod inputs;
mod rests;
pub(crate) mod second;
mod sees;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet};

use doorbell_mailbox::{RequestId, SubscriberId};
use doorbell_protocol::id::{MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use crate::counts::Counts;
use crate::store::Store;
use facts::{Fact, LinkFact, Offer, Over};

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) detail: String,
}

pub(crate) fn broken(rule: &'static str, detail: impl std::fmt::Debug) -> Result<(), Violation> {
    Err(Violation { rule, detail: format!("{detail:?}") })
}

#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) now: UnixMs,
    /// Milliseconds that have passed, whatever the clock shows.
    pub(crate) elapsed: u64,
    pub(crate) facts: BTreeMap<MessageId, Fact>,
    pub(crate) subscribers: BTreeMap<SubscriberId, LinkFact>,
    pub(crate) counts: Counts,
    /// Requests with a message that wait for an answer, and whether the store was asked.
    submitted: BTreeMap<RequestId, (MessageId, bool)>,
    refused: BTreeSet<RequestId>,
    /// DELETE requests that wait to be handed to the store.
    settling: BTreeMap<RequestId, MessageId>,
    /// Erasures that the store has not answered.
    erasing: BTreeMap<MessageId, u32>,
    /// Since when no subscriber but watchers is open, while none is.
    away_since: u64,
    /// Since when a watcher is open: before, no life is looked for.
    watched_since: u64,
    /// When the agent last showed life.
    life_at: u64,
    /// A page is under way, and whether it is useful.
    loading: Option<bool>,
    /// Every page has come since the first subscriber opened.
    complete: bool,
    removed_subscriptions: BTreeSet<SubscriptionId>,
    agent_removed: bool,
    /// The transient message of this very event.
    transient_now: Option<MessageId>,
    /// The message that this very event acknowledges, and its outcome.
    acked_now: Option<(MessageId, Outcome)>,
    /// The message that this very event reports as not passed on, and whether that may be its end.
    not_passed_on_now: Option<(MessageId, bool)>,
    /// Subscribers that this event must close.
    to_close: BTreeSet<SubscriberId>,
}

impl Judge {
    pub(crate) fn new(now: UnixMs) -> Self {
        Self { now, ..Self::default() }
    }

    /// The mailbox was dropped and made anew: it knows nothing.
    pub(crate) fn forgotten(&mut self) {
        self.subscribers.clear();
        self.agent_removed = false;
        for fact in self.facts.values_mut() {
            fact.leave();
            fact.excused = false;
            fact.owed = false;
        }
    }

    /// The service crashed: the store's rows are the truth now.
    pub(crate) fn crashed(&mut self, store: &Store) {
        self.forgotten();
        self.submitted.clear();
        self.refused.clear();
        self.settling.clear();
        self.erasing.clear();
        self.loading = None;
        for (id, fact) in &mut self.facts {
            let stored = store.rows.contains_key(id);
            fact.announced = stored;
            fact.over = if stored { None } else { fact.over.or(Some(Over::Removed)) };
            fact.again = stored.then_some("delivered after a crash");
        }
    }

    /// Whether the mailbox has nothing under way.
    fn nothing_under_way(&self) -> bool {
        let storing = self.submitted.values().any(|(_, asked)| *asked);
        self.subscribers.is_empty() && !storing && self.erasing.is_empty() && self.loading.is_none()
    }

    /// Memory has forgotten a message although subscribers are open.
    fn leave(&mut self, id: MessageId) {
        for subscriber in self.subscribers.values_mut() {
            subscriber.offers.remove(&id);
        }
        if let Some(fact) = self.facts.get_mut(&id) {
            fact.leave();
        }
    }

    fn is_held(&self, id: MessageId) -> bool {
        self.subscribers.values().any(|subscriber| subscriber.holds(id, self.elapsed))
    }

    /// Whether the mailbox has to offer the message to the next subscriber with room that carries it.
    fn is_ready(&self, id: MessageId, fact: &Fact) -> bool {
        if !fact.in_memory || !fact.is_live(self.now) || self.is_held(id) {
            return false;
        }
        let Some(subscriber) = fact.last.and_then(|last| self.subscribers.get(&last)) else { return true };
        match subscriber.offers.get(&id) {
            // Not held, so its time is over.
            Some(Offer::Open { .. }) => !subscriber.keeps(fact.turns),
            Some(Offer::Declined { until }) => *until <= self.elapsed && !subscriber.keeps(fact.turns),
            Some(Offer::Second { until }) => *until <= self.elapsed,
            Some(Offer::Arrived | Offer::Closed) => false,
            None => true,
        }
    }
}
