//! The delivery rules under a driver that keeps its contract and is hostile otherwise: events in any order, late, doubled,
//! and about what never was. The mailbox's own assertions judge each event; in the end, when everything is answered and
//! every subscriber is closed, it is idle.
//!
//! Three bytes are an event: its kind, and two numbers.
#![no_main]

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use doorbell_mailbox::{
    Effect, Entry, Input, Mailbox, Mode, RequestId, Retry, Rules, Scope, SubscriberId, SubscriberSpec,
};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use libfuzzer_sys::fuzz_target;

const START: UnixMs = UnixMs::from_secs(1_800_000_000);

fuzz_target!(|data: &[u8]| {
    let mut driver = Driver::new();
    for event in data.chunks_exact(3) {
        driver.event(event[0], event[1], event[2]);
    }
    driver.end();
});

/// What a shard does, without a store: it owes the mailbox an answer to each effect that asks for one.
struct Driver {
    mailbox: Mailbox,
    now: UnixMs,
    /// All that were minted; message n is the n-th.
    entries: Vec<Entry>,
    requests: u64,
    subscribers: u64,
    open: BTreeSet<SubscriberId>,
    persists: VecDeque<RequestId>,
    erasures: VecDeque<MessageId>,
    /// The page that is asked for: the entries after this one.
    load: Option<Option<MessageId>>,
}

impl Driver {
    fn new() -> Self {
        Self {
            mailbox: Mailbox::new(Rules { ack_timeout_ms: 30_000, decline_backoff_ms: 1_000, offers_max: 3 }),
            now: START,
            entries: Vec::new(),
            requests: 0,
            subscribers: 0,
            open: BTreeSet::new(),
            persists: VecDeque::new(),
            erasures: VecDeque::new(),
            load: None,
        }
    }

    fn event(&mut self, kind: u8, a: u8, b: u8) {
        let (subscriber, id) = (SubscriberId(u64::from(a % 8)), MessageId::from_raw(i64::from(b)));
        match kind % 16 {
            0 | 1 => self.submit(a, b),
            2 => self.committed(a, b),
            3 => self.connect(a, b),
            4 => self.feed(Input::SetFloor { subscriber, floor: floor(b) }),
            5 => {
                self.open.remove(&subscriber);
                self.feed(Input::Disconnect { subscriber });
            }
            6 => self.page(a, b),
            7 if self.is_minted(id) => {
                let request = (a % 2 == 0).then(|| self.request());
                self.feed(Input::Ack { request, id, outcome: Outcome::Delivered });
            }
            7 => self.feed(Input::NotPassedOn { request: None, id }),
            8 => {
                if let Some(id) = self.erasures.pop_front() {
                    self.feed(Input::Erased { id });
                }
            }
            9 => self.feed(Input::Declined { subscriber, id }),
            10 => self.feed(Input::Arrived { subscriber, id }),
            11 => self.feed(Input::Gone { subscriber, id }),
            12 => self.feed(Input::Unsubscribed { subscription: subscription(a) }),
            13 if a == b => self.feed(Input::AgentRemoved),
            // Time passes, and no tick comes. It never goes back: that is the driver's contract.
            14 => self.now = self.now.plus(Duration::from_millis(u64::from(a) << (b % 16))),
            15 => {
                self.now = self.now.plus(Duration::from_millis(u64::from(a) << (b % 16)));
                self.feed(Input::Tick);
            }
            _ => {}
        }
    }

    fn submit(&mut self, a: u8, b: u8) {
        let id = MessageId::from_raw(i64::try_from(self.entries.len()).expect("few events fit in an input"));
        let expires_at = self.now.plus(Duration::from_secs(u64::from(b)));
        let entry =
            Entry { id, subscription: subscription(a), urgency: Urgency::ALL[usize::from(a / 3 % 4)], expires_at };
        self.entries.push(entry);
        let request = self.request();
        self.feed(Input::Submit { request, entry, transient: a >= 200 });
    }

    /// The store answers in the order in which it was asked.
    fn committed(&mut self, a: u8, b: u8) {
        let Some(request) = self.persists.pop_front() else { return };
        let replaced = Some(MessageId::from_raw(i64::from(b))).filter(|id| a % 3 == 0 && self.is_minted(*id));
        self.feed(if a % 5 == 4 { Input::NotStored { request } } else { Input::Stored { request, replaced } });
    }

    fn connect(&mut self, a: u8, b: u8) {
        let scope = if a % 2 == 0 { Scope::Agent } else { Scope::Subscription(subscription(b)) };
        let mode = if a & 2 == 0 { Mode::Hold } else { Mode::Drain };
        let retry = if a & 4 == 0 { Retry::SameSubscriber } else { Retry::NextSubscriber };
        let (subscriber, window) = (SubscriberId(self.subscribers % 8), u16::from(b % 4));
        self.subscribers += 1;
        self.open.insert(subscriber);
        let spec = SubscriberSpec { scope, floor: floor(a / 8), mode, window, retry };
        let watches = a >= 224;
        self.feed(Input::Connect {
            subscriber,
            spec: if watches { SubscriberSpec::watch(floor(a / 8)) } else { spec },
        });
    }

    /// Some of the entries after the one that was asked for; the store may be behind, and may have failed to erase.
    fn page(&mut self, a: u8, b: u8) {
        let Some(after) = self.load.take() else { return };
        let later = self.entries.iter().filter(|entry| after.is_none_or(|after| entry.id > after));
        let some = later.filter(|entry| entry.id.raw() % 3 != i64::from(a % 4)).take(usize::from(b % 8));
        let entries: Vec<Entry> = some.copied().collect();
        self.feed(Input::Loaded { entries, more: b >= 128 });
    }

    fn feed(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.mailbox.handle(input, self.now, &mut effects);
        for effect in effects {
            match effect {
                Effect::Persist { request } => self.persists.push_back(request),
                Effect::Erase { id, .. } => self.erasures.push_back(id),
                Effect::Load { after } => assert!(self.load.replace(after).is_none(), "one load at a time"),
                Effect::Send { subscriber, .. }
                | Effect::Drained { subscriber }
                | Effect::Waiting { subscriber, .. }
                | Effect::Quiet { subscriber } => assert!(self.open.contains(&subscriber)),
                Effect::Close { subscriber, .. } => {
                    self.open.remove(&subscriber);
                }
                Effect::Accept { .. } | Effect::Reject { .. } | Effect::Acked { .. } | Effect::Release { .. } => {}
            }
        }
    }

    /// Everything is answered, and every subscriber closed: the mailbox may be dropped.
    fn end(&mut self) {
        while let Some(subscriber) = self.open.pop_first() {
            self.feed(Input::Disconnect { subscriber });
        }
        while let Some(request) = self.persists.pop_front() {
            self.feed(Input::Stored { request, replaced: None });
        }
        while let Some(id) = self.erasures.pop_front() {
            self.feed(Input::Erased { id });
        }
        while self.load.take().is_some() {
            self.feed(Input::Loaded { entries: Vec::new(), more: false });
        }
        assert!(self.mailbox.is_idle());
        assert_eq!(self.mailbox.next_deadline(), None);
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn is_minted(&self, id: MessageId) -> bool {
        self.entries.iter().any(|entry| entry.id == id)
    }
}

fn subscription(n: u8) -> SubscriptionId {
    SubscriptionId::from_raw(i64::from(n % 3))
}

fn floor(n: u8) -> Option<Urgency> {
    Urgency::ALL.get(usize::from(n % 5)).copied()
}
