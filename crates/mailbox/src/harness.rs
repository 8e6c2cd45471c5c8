//! The words in which the tests of the events are written: a mailbox, a clock, and short names.

use std::time::Duration;

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use crate::{Effect, Entry, Input, Mailbox, Mode, RequestId, Retry, Rules, Scope, SubscriberId, SubscriberSpec};

pub(crate) const NEWS: SubscriptionId = SubscriptionId::from_raw(1);
pub(crate) const CHAT: SubscriptionId = SubscriptionId::from_raw(2);
pub(crate) const TTL_MS: u64 = 3_600_000;
pub(crate) const ACK_TIMEOUT_MS: u64 = 30_000;

const START: UnixMs = UnixMs::from_millis(1_800_000_000_000);

/// A mailbox and the time. Message `n` has id `n`, and the request that brought it request `n`.
pub(crate) struct Desk {
    pub(crate) mailbox: Mailbox,
    pub(crate) now: UnixMs,
}

impl Desk {
    /// A mailbox without a subscriber.
    pub(crate) fn new() -> Self {
        Self::with_rules(Rules::default())
    }

    pub(crate) fn with_rules(rules: Rules) -> Self {
        Self { mailbox: Mailbox::new(rules), now: START }
    }

    /// A mailbox with subscriber 1 open and nothing in the store.
    pub(crate) fn with_subscriber(spec: SubscriberSpec) -> Self {
        let mut desk = Self::new();
        desk.connect(1, spec);
        desk.page(&[]);
        desk
    }

    pub(crate) fn feed(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.mailbox.handle(input, self.now, &mut effects);
        effects
    }

    pub(crate) fn connect(&mut self, subscriber: u64, spec: SubscriberSpec) -> Vec<Effect> {
        self.feed(Input::Connect { subscriber: SubscriberId(subscriber), spec })
    }

    pub(crate) fn disconnect(&mut self, subscriber: u64) -> Vec<Effect> {
        self.feed(Input::Disconnect { subscriber: SubscriberId(subscriber) })
    }

    /// The last page of a load.
    pub(crate) fn page(&mut self, entries: &[Entry]) -> Vec<Effect> {
        self.feed(Input::Loaded { entries: entries.to_vec(), more: false })
    }

    pub(crate) fn submit(&mut self, entry: Entry) -> Vec<Effect> {
        self.feed(Input::Submit { request: request(entry.id.raw()), entry, transient: false })
    }

    pub(crate) fn submit_transient(&mut self, entry: Entry) -> Vec<Effect> {
        self.feed(Input::Submit { request: request(entry.id.raw()), entry, transient: true })
    }

    pub(crate) fn stored(&mut self, n: i64) -> Vec<Effect> {
        self.feed(Input::Stored { request: request(n), replaced: None })
    }

    pub(crate) fn stored_instead_of(&mut self, n: i64, older: i64) -> Vec<Effect> {
        self.feed(Input::Stored { request: request(n), replaced: Some(id(older)) })
    }

    /// Submits and stores.
    pub(crate) fn arrives(&mut self, entry: Entry) -> Vec<Effect> {
        self.submit(entry);
        self.stored(entry.id.raw())
    }

    pub(crate) fn ack(&mut self, n: i64) -> Vec<Effect> {
        self.feed(Input::Ack { request: None, id: id(n), outcome: Outcome::Delivered })
    }

    pub(crate) fn ack_with(&mut self, asker: i64, n: i64) -> Vec<Effect> {
        self.feed(Input::Ack { request: Some(request(asker)), id: id(n), outcome: Outcome::Delivered })
    }

    pub(crate) fn not_passed_on(&mut self, n: i64) -> Vec<Effect> {
        self.feed(Input::NotPassedOn { request: None, id: id(n) })
    }

    pub(crate) fn erased(&mut self, n: i64) -> Vec<Effect> {
        self.feed(Input::Erased { id: id(n) })
    }

    pub(crate) fn declined(&mut self, subscriber: u64, n: i64) -> Vec<Effect> {
        self.feed(Input::Declined { subscriber: SubscriberId(subscriber), id: id(n) })
    }

    pub(crate) fn has_arrived(&mut self, subscriber: u64, n: i64) -> Vec<Effect> {
        self.feed(Input::Arrived { subscriber: SubscriberId(subscriber), id: id(n) })
    }

    /// Lets time pass, with a tick at each deadline.
    pub(crate) fn wait_ms(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.now.plus(Duration::from_millis(ms));
        let mut effects = Vec::new();
        while let Some(at) = self.mailbox.next_deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            effects.extend(self.feed(Input::Tick));
        }
        self.now = end;
        effects
    }
}

/// Message `n` for NEWS, of normal urgency, for an hour.
pub(crate) fn message(n: i64) -> Entry {
    let expires_at = START.plus(Duration::from_millis(TTL_MS));
    Entry { id: id(n), subscription: NEWS, urgency: Urgency::Normal, expires_at }
}

pub(crate) fn urgent(n: i64, urgency: Urgency) -> Entry {
    Entry { urgency, ..message(n) }
}

pub(crate) fn chat(n: i64) -> Entry {
    Entry { subscription: CHAT, ..message(n) }
}

pub(crate) fn expiring_in_ms(n: i64, ms: u64) -> Entry {
    Entry { expires_at: START.plus(Duration::from_millis(ms)), ..message(n) }
}

/// A held subscriber of the agent that takes all, ten at a time, and lets retry on itself.
pub(crate) fn hold() -> SubscriberSpec {
    SubscriberSpec { scope: Scope::Agent, floor: None, mode: Mode::Hold, window: 10, retry: Retry::SameSubscriber }
}

/// The same, until what there is has been offered.
pub(crate) fn drain() -> SubscriberSpec {
    SubscriberSpec { mode: Mode::Drain, ..hold() }
}

/// A held subscriber that gets each message once.
pub(crate) fn once() -> SubscriberSpec {
    SubscriberSpec { retry: Retry::NextSubscriber, ..hold() }
}

pub(crate) fn window(window: u16, spec: SubscriberSpec) -> SubscriberSpec {
    SubscriberSpec { window, ..spec }
}

pub(crate) fn only(subscription: SubscriptionId, spec: SubscriberSpec) -> SubscriberSpec {
    SubscriberSpec { scope: Scope::Subscription(subscription), ..spec }
}

pub(crate) fn from(floor: Urgency, spec: SubscriberSpec) -> SubscriberSpec {
    SubscriberSpec { floor: Some(floor), ..spec }
}

pub(crate) fn id(n: i64) -> MessageId {
    MessageId::from_raw(n)
}

pub(crate) fn request(n: i64) -> RequestId {
    RequestId(n.unsigned_abs())
}

pub(crate) fn send(subscriber: u64, n: i64) -> Effect {
    Effect::Send { subscriber: SubscriberId(subscriber), id: id(n), second: false }
}

pub(crate) fn send_second(subscriber: u64, n: i64) -> Effect {
    Effect::Send { subscriber: SubscriberId(subscriber), id: id(n), second: true }
}

pub(crate) fn accept(n: i64) -> Effect {
    Effect::Accept { request: request(n) }
}

pub(crate) fn release(n: i64) -> Effect {
    Effect::Release { id: id(n) }
}

pub(crate) fn erase(n: i64) -> Effect {
    Effect::Erase { id: id(n), request: None, outcome: Outcome::Delivered }
}

pub(crate) fn erase_for(asker: i64, n: i64) -> Effect {
    Effect::Erase { id: id(n), request: Some(request(asker)), outcome: Outcome::Delivered }
}

pub(crate) fn load_after(after: Option<i64>) -> Effect {
    Effect::Load { after: after.map(id) }
}

pub(crate) fn drained(subscriber: u64) -> Effect {
    Effect::Drained { subscriber: SubscriberId(subscriber) }
}

/// The messages sent, in order, with their subscribers.
pub(crate) fn sent(effects: &[Effect]) -> Vec<(u64, i64)> {
    let pair = |effect: &Effect| match effect {
        Effect::Send { subscriber, id, .. } => Some((subscriber.0, id.raw())),
        _ => None,
    };
    effects.iter().filter_map(pair).collect()
}
