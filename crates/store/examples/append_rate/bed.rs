//! What the store's examples put into it.

use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, SubscriptionId};
use doorbell_protocol::time::UnixMs;
use doorbell_store::{NewMessage, Store, Subscription};

/// The present, at which everything is written.
pub(crate) const NOON: UnixMs = UnixMs::from_millis(1_800_000_000_000);
/// The first message's id.
pub(crate) const FIRST_MESSAGE: i64 = 3_000_000_000;
const FIRST_AGENT: i64 = 1_000_000_000;
const FIRST_SUBSCRIPTION: i64 = 2_000_000_000;

/// Creates agents with one subscription each.
pub(crate) async fn make(store: &Store, subscriptions: u64) {
    let mut last = None;
    for n in 0..i64::try_from(subscriptions).unwrap() {
        let (agent, id) = (AgentId::from_raw(FIRST_AGENT + n), SubscriptionId::from_raw(FIRST_SUBSCRIPTION + n));
        drop(store.create_agent(agent, NOON));
        last =
            Some(store.create_subscription(Subscription { id, agent, vapid_key: None, channel: None, created: NOON }));
        if n % 1_000 == 0 {
            last.take().unwrap().await.unwrap();
        }
    }
    if let Some(last) = last {
        last.await.unwrap();
    }
}

/// A message for the agent number `n`, good for an hour.
pub(crate) fn message(id: i64, n: u64) -> NewMessage {
    let n = i64::try_from(n).unwrap();
    NewMessage {
        id: MessageId::from_raw(id),
        agent: AgentId::from_raw(FIRST_AGENT + n),
        subscription: SubscriptionId::from_raw(FIRST_SUBSCRIPTION + n),
        now: NOON,
        served: NOON,
        expires_at: NOON.plus(Duration::from_secs(3_600)),
        topic: None,
        urgency: Urgency::Normal,
        receipt: None,
        headers: b"\x01\x00\x09aes128gcm".to_vec(),
        body: Bytes::from(vec![7; 1024]),
    }
}
