//! The test bed: a store with two agents, and short names for what tests do with it.

use std::path::Path;

use bytes::Bytes;
use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{Limits, Lookup, NewMessage, Receipt, Store, StoredMessage, Subscription};
use tempfile::TempDir;

/// Two agents; the first has two subscriptions.
pub(crate) const ALICE: AgentId = AgentId::from_raw(1);
pub(crate) const BOB: AgentId = AgentId::from_raw(2);
pub(crate) const ALICE_NEWS: SubscriptionId = SubscriptionId::from_raw(11);
pub(crate) const ALICE_CHAT: SubscriptionId = SubscriptionId::from_raw(12);
pub(crate) const BOB_NEWS: SubscriptionId = SubscriptionId::from_raw(21);

/// An application server's two receipt subscriptions.
pub(crate) const RECEIPTS: ReceiptSubscriptionId = ReceiptSubscriptionId::from_raw(31);
pub(crate) const OTHER_RECEIPTS: ReceiptSubscriptionId = ReceiptSubscriptionId::from_raw(32);

pub(crate) const DELIVERED: Outcome = Outcome::Delivered;

const NOON_MS: i64 = 1_800_000_000_000;

/// The present in tests.
pub(crate) const NOON: UnixMs = UnixMs::from_millis(NOON_MS);

/// The moment `n` minutes after noon.
pub(crate) const fn minutes(n: i64) -> UnixMs {
    UnixMs::from_millis(NOON_MS + n * 60_000)
}

pub(crate) struct Bed {
    pub(crate) store: Store,
    /// The store's directory, if it has one. It must outlive the store.
    _dir: Option<TempDir>,
}

impl Bed {
    pub(crate) fn memory(limits: Limits) -> Self {
        Self { store: Store::open_memory(limits).unwrap(), _dir: None }
    }

    pub(crate) fn sqlite(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: open(dir.path(), limits), _dir: Some(dir) }
    }

    /// In a fresh database. Without PostgreSQL, the case runs in memory, and says that it was skipped.
    #[cfg(feature = "postgres")]
    pub(crate) fn postgres(limits: Limits) -> Self {
        use crate::postgres::server::Databases;
        let Some(server) = crate::postgres::server::shared() else { return Self::memory(limits) };
        Self { store: Store::open_postgres(&server.fresh(), limits).unwrap(), _dir: None }
    }

    /// Creates the two agents and their subscriptions.
    pub(crate) async fn populate(self) -> Self {
        populate(&self.store).await;
        self
    }

    /// Also creates the two receipt subscriptions.
    pub(crate) async fn populate_with_receipts(self) -> Self {
        let bed = self.populate().await;
        populate_with_receipts(&bed.store).await;
        bed
    }

    /// The receipts that were not taken: message and outcome, in the order of their numbers.
    pub(crate) async fn receipts(&self, of: ReceiptSubscriptionId) -> Vec<(i64, Outcome)> {
        receipts(&self.store, of).await.iter().map(|receipt| (receipt.message.raw(), receipt.outcome)).collect()
    }

    /// The ids of what waits for an agent.
    pub(crate) async fn waiting(&self, agent: AgentId, now: UnixMs) -> Vec<i64> {
        waiting(&self.store, agent, now).await
    }
}

pub(crate) fn open(dir: &Path, limits: Limits) -> Store {
    Store::open_sqlite(dir, limits).unwrap()
}

pub(crate) async fn populate(store: &Store) {
    for agent in [ALICE, BOB] {
        store.create_agent(agent, NOON).await.unwrap();
    }
    for (id, agent) in [(ALICE_NEWS, ALICE), (ALICE_CHAT, ALICE), (BOB_NEWS, BOB)] {
        store.create_subscription(subscription(id, agent)).await.unwrap();
    }
}

pub(crate) async fn populate_with_receipts(store: &Store) {
    for id in [RECEIPTS, OTHER_RECEIPTS] {
        store.create_receipt_subscription(id, NOON).await.unwrap();
    }
}

pub(crate) async fn receipts(store: &Store, of: ReceiptSubscriptionId) -> Vec<Receipt> {
    let page = store.receipts(of, None, 1_000).await.unwrap();
    assert!(!page.more);
    assert!(page.receipts.windows(2).all(|pair| pair[0].seq < pair[1].seq), "{page:?}");
    page.receipts
}

pub(crate) async fn waiting(store: &Store, agent: AgentId, now: UnixMs) -> Vec<i64> {
    let page = store.pending(agent, None, 1_000, now).await.unwrap();
    assert!(!page.more);
    page.entries.iter().map(|entry| entry.id.raw()).collect()
}

pub(crate) fn stored(lookup: &Lookup) -> Option<&StoredMessage> {
    if let Lookup::Stored(message) = lookup { Some(message) } else { None }
}

pub(crate) fn subscription(id: SubscriptionId, agent: AgentId) -> Subscription {
    Subscription { id, agent, vapid_key: None, channel: None, created: NOON }
}

pub(crate) fn id(raw: i64) -> MessageId {
    MessageId::from_raw(raw)
}

pub(crate) fn topic(text: &str) -> Option<Topic> {
    Some(text.parse().unwrap())
}

/// A message of one byte to Alice's news that expires an hour after noon.
pub(crate) fn news(raw: i64) -> NewMessage {
    NewMessage {
        id: id(raw),
        agent: ALICE,
        subscription: ALICE_NEWS,
        now: NOON,
        served: NOON,
        expires_at: minutes(60),
        topic: None,
        urgency: Urgency::Normal,
        receipt: None,
        headers: Vec::new(),
        body: Bytes::from_static(b"."),
    }
}

/// The message, which wants a receipt.
pub(crate) fn with_receipt(message: NewMessage) -> NewMessage {
    NewMessage { receipt: Some(RECEIPTS), ..message }
}

/// The same to Alice's chat.
pub(crate) fn chat(raw: i64) -> NewMessage {
    NewMessage { subscription: ALICE_CHAT, ..news(raw) }
}

/// The same to Bob.
pub(crate) fn to_bob(raw: i64) -> NewMessage {
    NewMessage { agent: BOB, subscription: BOB_NEWS, ..news(raw) }
}
