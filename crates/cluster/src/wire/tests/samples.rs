//! Frames for tests: every variant with values at the edges, and as many arbitrary ones as a test wants.

use bytes::Bytes;
use doorbell_protocol::headers::topic::{TOPIC_MAX, Topic};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use crate::wire::{Answer, Body, CLUSTER_MAX, EndReason, Event, Frame, Mode, Submitted, Tell};
use crate::{Life, NodeId, Slot};

const ANSWERS: [Answer; 13] = [
    Answer::Accepted,
    Answer::NotOwner,
    Answer::Gone,
    Answer::NoReceipts,
    Answer::ReceiptsFull,
    Answer::Full,
    Answer::NoRoom,
    Answer::StoreFull,
    Answer::Overloaded,
    Answer::Unavailable,
    Answer::Damaged,
    Answer::TooFast { retry_after_ms: 0 },
    Answer::TooFast { retry_after_ms: u32::MAX },
];

const REASONS: [EndReason; 4] =
    [EndReason::SubscriptionGone, EndReason::AgentGone, EndReason::Superseded, EndReason::Stopping];

/// A message with everything that it can have.
pub(super) fn submitted() -> Submitted {
    Submitted {
        id: MessageId::from_raw(0x0102_0304_0506_0708),
        agent: AgentId::from_raw(9),
        subscription: SubscriptionId::from_raw(10),
        ttl_secs: 3_600,
        urgency: Urgency::High,
        topic: Some("news".parse().unwrap()),
        receipt: Some(ReceiptSubscriptionId::from_raw(11)),
        headers: Bytes::from_static(b"hd"),
        body: Bytes::from_static(b"body"),
    }
}

/// Every variant, with values at the edges.
pub(super) fn every_variant() -> Vec<Frame> {
    let mut frames = vec![
        hello("doorbell", 1, 1),
        hello("", 1_023, i64::MIN),
        hello(&"~".repeat(CLUSTER_MAX), 512, i64::MAX),
        submit(submitted()),
        submit(Submitted { topic: Some("-".repeat(TOPIC_MAX).parse().unwrap()), receipt: None, ..submitted() }),
        submit(Submitted { ttl_secs: u32::MAX, topic: None, headers: Bytes::new(), body: Bytes::new(), ..submitted() }),
        submit(Submitted { id: MessageId::from_raw(-1), body: vec![0xff; 4_096].into(), ..submitted() }),
        Frame::YieldSlot { slot: Slot(0) },
        Frame::YieldSlot { slot: Slot(255) },
        Frame::Listen { of: ReceiptSubscriptionId::from_raw(i64::MAX), on: true },
        Frame::Listen { of: ReceiptSubscriptionId::from_raw(0), on: false },
        Frame::Woke { of: vec![] },
        Frame::Woke { of: [1, 2, i64::MAX].map(ReceiptSubscriptionId::from_raw).into() },
        Frame::Rates { used: vec![], unreachable: vec![] },
        Frame::Rates { used: vec![([0; 32], 0), ([0xff; 32], u32::MAX)], unreachable: vec![NodeId(1), NodeId(1_023)] },
        Frame::Ping { number: 0 },
        Frame::Pong { number: u64::MAX },
    ];
    frames.extend(ANSWERS.map(|answer| Frame::Answer { request: u64::MAX, answer }));
    for mode in [Mode::Drain, Mode::Hold, Mode::Watch] {
        frames.extend([connect(mode, None), connect(mode, Some(Urgency::Low))]);
    }
    let (link, opening, id) = (1, u64::MAX, MessageId::from_raw(i64::MAX));
    let floors = Urgency::ALL.map(Some).into_iter().chain([None]).map(Tell::SetFloor);
    let settles = Outcome::ALL.map(|outcome| Tell::Settle { id, outcome });
    let others = [
        Tell::NotPassedOn { id },
        Tell::Undeliverable { id },
        Tell::Declined { id },
        Tell::Gone { id },
        Tell::Arrived { id },
        Tell::Disconnect,
    ];
    frames.extend(floors.chain(settles).chain(others).map(|tell| Frame::Tell { link, opening, tell }));
    let body = Body {
        subscription: SubscriptionId::from_raw(10),
        expires_at: None,
        headers: Bytes::new(),
        body: Bytes::from_static(&[0]),
    };
    let kept = Body { expires_at: Some(UnixMs::from_millis(i64::MIN)), ..body.clone() };
    let (since, expires) = (UnixMs::from_millis(0), UnixMs::from_millis(i64::MAX));
    let events = [
        Event::Connected,
        Event::NotOwner,
        Event::Put { id, second: false, message: None },
        Event::Put { id, second: true, message: Some(body.into()) },
        Event::Put { id, second: false, message: Some(kept.into()) },
        Event::Recall { id },
        Event::Settled { id },
        Event::Drained,
        Event::Waiting { messages: u32::MAX, urgency: Urgency::VeryLow, since, expires },
        Event::Quiet,
    ];
    let ends = REASONS.map(Event::End);
    frames.extend(events.into_iter().chain(ends).map(|event| Frame::Event { link, opening, event }));
    frames
}

pub(super) fn hello(cluster: &str, node: u16, life: i64) -> Frame {
    Frame::Hello { wire_min: 1, wire_max: u16::MAX, cluster: cluster.into(), node: NodeId(node), life: Life(life) }
}

pub(super) fn submit(message: Submitted) -> Frame {
    Frame::Submit { request: 7, again: message.topic.is_some(), message: message.into() }
}

fn connect(mode: Mode, floor: Option<Urgency>) -> Frame {
    Frame::Connect {
        link: 3,
        opening: 4,
        agent: AgentId::from_raw(5),
        scope: floor.map(|_| SubscriptionId::from_raw(6)),
        floor,
        mode,
        window: if floor.is_some() { u16::MAX } else { 0 },
        retry_same: mode == Mode::Drain,
        exclusive: mode == Mode::Hold,
    }
}

/// Arbitrary values, the same for the same seed (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// Less than `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn number(&mut self) -> i64 {
        self.bits().cast_signed()
    }

    fn id(&mut self) -> MessageId {
        MessageId::from_raw(self.number())
    }

    fn moment(&mut self) -> UnixMs {
        UnixMs::from_millis(self.number())
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn maybe<T>(&mut self, of: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(of(self)) } else { None }
    }

    fn list<T>(&mut self, of: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(20)).map(|_| of(self)).collect()
    }

    fn bytes(&mut self) -> Bytes {
        let length = self.below(300);
        (0..length).map(|_| self.bits() as u8).collect()
    }

    fn node(&mut self) -> NodeId {
        NodeId(1 + self.below(1_023) as u16)
    }

    fn urgency(&mut self) -> Urgency {
        self.one_of(&Urgency::ALL)
    }

    fn text(&mut self, alphabet: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(self.one_of(alphabet))).collect()
    }

    fn topic(&mut self) -> Topic {
        let length = 1 + self.below(TOPIC_MAX);
        self.text(b"abcXYZ019-_", length).parse().unwrap()
    }

    fn submitted(&mut self) -> Submitted {
        Submitted {
            id: self.id(),
            agent: AgentId::from_raw(self.number()),
            subscription: SubscriptionId::from_raw(self.number()),
            ttl_secs: self.bits() as u32,
            urgency: self.urgency(),
            topic: self.maybe(Self::topic),
            receipt: self.maybe(|random| ReceiptSubscriptionId::from_raw(random.number())),
            headers: self.bytes(),
            body: self.bytes(),
        }
    }

    fn body(&mut self) -> Box<Body> {
        Box::new(Body {
            subscription: SubscriptionId::from_raw(self.number()),
            expires_at: self.maybe(Self::moment),
            headers: self.bytes(),
            body: self.bytes(),
        })
    }

    fn tell(&mut self) -> Tell {
        let id = self.id();
        match self.below(8) {
            0 => Tell::Settle { id, outcome: self.one_of(&Outcome::ALL) },
            1 => Tell::NotPassedOn { id },
            2 => Tell::Undeliverable { id },
            3 => Tell::Declined { id },
            4 => Tell::Gone { id },
            5 => Tell::Arrived { id },
            6 => Tell::SetFloor(self.maybe(Self::urgency)),
            _ => Tell::Disconnect,
        }
    }

    fn event(&mut self) -> Event {
        let id = self.id();
        match self.below(9) {
            0 => Event::Connected,
            1 => Event::NotOwner,
            2 => Event::Put { id, second: self.flag(), message: self.maybe(Self::body) },
            3 => Event::Recall { id },
            4 => Event::Settled { id },
            5 => Event::Drained,
            6 => Event::Waiting {
                messages: self.bits() as u32,
                urgency: self.urgency(),
                since: self.moment(),
                expires: self.moment(),
            },
            7 => Event::Quiet,
            _ => Event::End(self.one_of(&REASONS)),
        }
    }

    /// Any frame that can be encoded.
    pub(super) fn frame(&mut self) -> Frame {
        let (number, other) = (self.bits(), self.bits());
        match self.below(12) {
            0 => {
                let length = self.below(CLUSTER_MAX + 1);
                let cluster = self.text(b"abc-. \0\x7f", length);
                let (wire_min, wire_max) = (number as u16, other as u16);
                Frame::Hello { wire_min, wire_max, cluster, node: self.node(), life: Life(self.number()) }
            }
            1 => Frame::Submit { request: number, again: self.flag(), message: self.submitted().into() },
            2 => Frame::Answer { request: number, answer: self.one_of(&ANSWERS) },
            3 => Frame::Connect {
                link: number,
                opening: other,
                agent: AgentId::from_raw(self.number()),
                scope: self.maybe(|random| SubscriptionId::from_raw(random.number())),
                floor: self.maybe(Self::urgency),
                mode: self.one_of(&[Mode::Drain, Mode::Hold, Mode::Watch]),
                window: self.bits() as u16,
                retry_same: self.flag(),
                exclusive: self.flag(),
            },
            4 => Frame::Tell { link: number, opening: other, tell: self.tell() },
            5 => Frame::Event { link: number, opening: other, event: self.event() },
            6 => Frame::YieldSlot { slot: Slot(number as u8) },
            7 => Frame::Listen { of: ReceiptSubscriptionId::from_raw(self.number()), on: self.flag() },
            8 => Frame::Woke { of: self.list(|random| ReceiptSubscriptionId::from_raw(random.number())) },
            9 => Frame::Rates {
                used: self.list(|random| ([random.bits() as u8; 32], random.bits() as u32)),
                unreachable: self.list(Self::node),
            },
            10 => Frame::Ping { number },
            _ => Frame::Pong { number },
        }
    }
}
