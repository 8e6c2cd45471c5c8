//! What the rules cost: a message to a connected agent, and an agent that comes back to many.
//!
//! `cargo bench -p doorbell-mailbox`

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement that cannot go on has failed")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use doorbell_mailbox::{
    Effect, Entry, Input, Mailbox, Mode, RequestId, Retry, Rules, Scope, SubscriberId, SubscriberSpec,
};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);
const LATER: UnixMs = UnixMs::from_secs(1_800_003_600);
const SUBSCRIBER: SubscriberId = SubscriberId(1);
const BACKLOG: i64 = 10_000;
/// Messages that the driver reads from the store at a time.
const PAGE: usize = 1_000;

fn round_trip(c: &mut Criterion) {
    let (mut mailbox, mut effects) = (connected(), Vec::new());
    mailbox.handle(Input::Loaded { entries: Vec::new(), more: false }, NOW, &mut effects);
    let mut ids = 1..;
    c.bench_function("submitted, stored, sent, acknowledged, erased", |b| {
        b.iter(|| {
            let raw = ids.next().unwrap();
            let (entry, request) = (entry(raw), RequestId(raw.unsigned_abs()));
            effects.clear();
            mailbox.handle(Input::Submit { request, entry, transient: false }, NOW, &mut effects);
            mailbox.handle(Input::Stored { request, replaced: None }, NOW, &mut effects);
            settle(&mut mailbox, entry.id, &mut effects);
            effects.len()
        });
    });
}

fn backlog(c: &mut Criterion) {
    let stored: Vec<Entry> = (1..=BACKLOG).map(entry).collect();
    c.bench_function("a backlog of 10,000, loaded and acknowledged", |b| {
        b.iter_batched_ref(
            connected,
            |mailbox| assert_eq!(drain(mailbox, &stored), stored.len()),
            BatchSize::LargeInput,
        );
    });
}

/// Answers every load and acknowledges what is sent, until nothing comes: how many came.
fn drain(mailbox: &mut Mailbox, stored: &[Entry]) -> usize {
    let (mut effects, mut sent) = (vec![Effect::Load { after: None }], 0);
    while !effects.is_empty() {
        for effect in std::mem::take(&mut effects) {
            match effect {
                Effect::Load { after } => {
                    let rest = &stored[stored.partition_point(|entry| Some(entry.id) <= after)..];
                    let page = rest[..rest.len().min(PAGE)].to_vec();
                    let more = page.len() < rest.len();
                    mailbox.handle(Input::Loaded { entries: page, more }, NOW, &mut effects);
                }
                Effect::Send { id, .. } => {
                    sent += 1;
                    settle(mailbox, id, &mut effects);
                }
                _ => {}
            }
        }
    }
    sent
}

fn settle(mailbox: &mut Mailbox, id: MessageId, effects: &mut Vec<Effect>) {
    mailbox.handle(Input::Ack { request: None, id, outcome: Outcome::Delivered }, NOW, effects);
    mailbox.handle(Input::Erased { id }, NOW, effects);
}

fn connected() -> Mailbox {
    let mut mailbox = Mailbox::new(Rules::default());
    let spec =
        SubscriberSpec { scope: Scope::Agent, floor: None, mode: Mode::Hold, window: 10, retry: Retry::NextSubscriber };
    mailbox.handle(Input::Connect { subscriber: SUBSCRIBER, spec }, NOW, &mut Vec::new());
    mailbox
}

fn entry(raw: i64) -> Entry {
    let subscription = SubscriptionId::from_raw(1);
    Entry { id: MessageId::from_raw(raw), subscription, urgency: Urgency::Normal, expires_at: LATER }
}

criterion_group!(benches, round_trip, backlog);
criterion_main!(benches);
