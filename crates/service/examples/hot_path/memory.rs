//! Where a message is kept: in its agent's mailbox, and in the store.

use std::hint::black_box;

use bytes::Bytes;
use doorbell_mailbox::{
    Effect, Entry, Input, Mailbox, Mode, RequestId, Retry, Rules, Scope, SubscriberId, SubscriberSpec,
};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{Engine, Limits, NewMessage, SqliteEngine, Subscription, Write};

use crate::{BODY, Step};

const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);
const LATER: UnixMs = UnixMs::from_secs(1_800_003_600);
const AGENT: AgentId = AgentId::from_raw(1);
const SUBSCRIPTION: SubscriptionId = SubscriptionId::from_raw(2);
const FIRST_MESSAGE: i64 = 1_000;

/// A message is submitted, stored, sent to a connected agent, acknowledged and erased.
pub(crate) fn mailbox() -> Step {
    let mut mailbox = Mailbox::new(Rules::default());
    let mut effects: Vec<Effect> = Vec::new();
    let subscriber = SubscriberId(1);
    let spec =
        SubscriberSpec { scope: Scope::Agent, floor: None, mode: Mode::Hold, window: 10, retry: Retry::NextSubscriber };
    mailbox.handle(Input::Connect { subscriber, spec }, NOW, &mut effects);
    mailbox.handle(Input::Loaded { entries: Vec::new(), more: false }, NOW, &mut effects);
    let mut messages = FIRST_MESSAGE..;
    Box::new(move || {
        let raw = messages.next().unwrap();
        let (id, request) = (MessageId::from_raw(raw), RequestId(raw.unsigned_abs()));
        let entry = Entry { id, subscription: SUBSCRIPTION, urgency: Urgency::Normal, expires_at: LATER };
        effects.clear();
        mailbox.handle(Input::Submit { request, entry, transient: false }, NOW, &mut effects);
        mailbox.handle(Input::Stored { request, replaced: None }, NOW, &mut effects);
        mailbox.handle(Input::Ack { request: None, id, outcome: Outcome::Delivered }, NOW, &mut effects);
        mailbox.handle(Input::Erased { id }, NOW, &mut effects);
        assert!(black_box(&effects).contains(&Effect::Send { subscriber, id, second: false }));
    })
}

/// One commit keeps a message in SQLite, and the next erases it.
pub(crate) fn store() -> Step {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = SqliteEngine::open(dir.path(), Limits::default()).unwrap();
    let subscription = Subscription { id: SUBSCRIPTION, agent: AGENT, vapid_key: None, channel: None, created: NOW };
    let made = [Write::CreateAgent { id: AGENT, served: NOW }, Write::CreateSubscription(subscription)];
    commit(&mut engine, &made);
    let body = Bytes::from(vec![7; BODY]);
    let mut messages = FIRST_MESSAGE..;
    Box::new(move || {
        // The files exist as long as the step.
        let _ = &dir;
        let id = MessageId::from_raw(messages.next().unwrap());
        commit(&mut engine, &[Write::Append(message(id, body.clone()))]);
        commit(&mut engine, &[Write::Erase { id, agent: AGENT, outcome: Outcome::Delivered, now: NOW }]);
        engine.tidy().unwrap();
    })
}

fn commit(engine: &mut SqliteEngine, batch: &[Write]) {
    let answers = engine.commit(black_box(batch)).unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

fn message(id: MessageId, body: Bytes) -> NewMessage {
    NewMessage {
        id,
        agent: AGENT,
        subscription: SUBSCRIPTION,
        now: NOW,
        served: NOW,
        expires_at: LATER,
        topic: None,
        urgency: Urgency::Normal,
        receipt: None,
        headers: b"\x01\x00\x09aes128gcm".to_vec(),
        body,
    }
}
