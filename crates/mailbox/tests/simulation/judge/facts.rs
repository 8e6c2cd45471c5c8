//! What is true of messages and subscribers, kept independently of the mailbox.

use std::collections::BTreeMap;

use doorbell_mailbox::{Entry, Mode, Retry, Scope, SubscriberId, SubscriberSpec};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::subject::RULES;

/// Why a message must not be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Acked,
    Replaced,
    Removed,
}

#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) entry: Entry,
    pub(crate) transient: bool,
    /// The mailbox has the input that the store has it.
    pub(crate) announced: bool,
    pub(crate) over: Option<Over>,
    /// The mailbox must know of it now: it was announced or listed while a subscriber was open.
    pub(crate) in_memory: bool,
    /// Its erasure failed, or its body was gone: it may be missing in memory until memory is filled anew.
    pub(crate) excused: bool,
    /// A release is allowed.
    pub(crate) entered: bool,
    /// A release is owed.
    pub(crate) owed: bool,
    /// How often it was sent since a subscriber that carried it closed: the bound that is never exceeded.
    pub(crate) offers: u8,
    /// The same since the subscriber that it belonged to closed: as long as it is small the message must go again.
    pub(crate) turns: u8,
    /// How often it was sent since memory knows it.
    pub(crate) sent: u8,
    /// It goes under its second version; `None` if that cannot be known.
    pub(crate) second: Option<bool>,
    /// Where it was sent last.
    pub(crate) last: Option<SubscriberId>,
    /// What its next delivery will be counted as.
    pub(crate) again: Option<&'static str>,
}

impl Fact {
    pub(crate) fn new(entry: Entry, transient: bool) -> Self {
        Self {
            entry,
            transient,
            announced: false,
            over: None,
            in_memory: false,
            excused: false,
            entered: true,
            owed: true,
            offers: 0,
            turns: 0,
            sent: 0,
            second: Some(false),
            last: None,
            again: None,
        }
    }

    /// Memory has forgotten it: what comes next counts anew.
    pub(crate) fn leave(&mut self) {
        self.offers = 0;
        self.turns = 0;
        self.last = None;
        self.forget();
    }

    /// Memory has no subscriber, or has released it: its next offer is its first.
    pub(crate) fn forget(&mut self) {
        self.in_memory = false;
        self.sent = 0;
        self.second = Some(false);
    }

    pub(crate) fn is_live(&self, now: UnixMs) -> bool {
        self.over.is_none() && self.entry.expires_at > now
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Sent at this moment of elapsed time, and neither settled nor refused.
    Open { at: u64 },
    /// Refused; to be offered again at this moment.
    Declined { until: u64 },
    /// Not passed on; to be offered once more at this moment.
    Second { until: u64 },
    /// Arrived and not settled: its place is free, and it goes again when the subscriber has closed.
    Arrived,
    /// Settled or gone: its place is free.
    Closed,
}

#[derive(Clone, Debug)]
pub(crate) struct LinkFact {
    pub(crate) spec: SubscriberSpec,
    pub(crate) drained: bool,
    /// What a watcher was last notified of, while that holds.
    pub(crate) reported: Option<Urgency>,
    /// Another subscriber has closed since.
    pub(crate) stale: bool,
    pub(crate) offers: BTreeMap<MessageId, Offer>,
}

impl LinkFact {
    pub(crate) fn new(spec: SubscriberSpec) -> Self {
        Self { spec, drained: false, reported: None, stale: false, offers: BTreeMap::new() }
    }

    pub(crate) fn watches(&self) -> bool {
        self.spec.mode == Mode::Watch
    }

    pub(crate) fn carries(&self, entry: &Entry) -> bool {
        let in_scope = match self.spec.scope {
            Scope::Agent => true,
            Scope::Subscription(only) => only == entry.subscription,
        };
        in_scope && self.spec.floor.is_none_or(|floor| entry.urgency >= floor)
    }

    /// Whether the message occupies a place of the window.
    pub(crate) fn holds(&self, id: MessageId, elapsed: u64) -> bool {
        let offer = self.offers.get(&id);
        matches!(offer, Some(Offer::Open { at }) if elapsed - at < u64::from(RULES.ack_timeout_ms))
    }

    /// When the message was sent on it, while it is unsettled.
    pub(crate) fn sent_at(&self, id: MessageId) -> Option<u64> {
        match self.offers.get(&id) {
            Some(Offer::Open { at }) => Some(*at),
            _ => None,
        }
    }

    pub(crate) fn unacked(&self, elapsed: u64) -> usize {
        self.offers.keys().filter(|id| self.holds(**id, elapsed)).count()
    }

    pub(crate) fn has_room(&self, elapsed: u64) -> bool {
        !self.drained && self.unacked(elapsed) < usize::from(self.spec.window)
    }

    /// Whether a message that was offered here, and is not held, waits until this subscriber closes.
    pub(crate) fn keeps(&self, turns: u8) -> bool {
        self.spec.retry == Retry::NextSubscriber || turns >= RULES.offers_max
    }
}
