//! The hub on a store in memory: behaviour that no door shows.

use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::ReceiptSubscriptionId;
use doorbell_protocol::message::ContentHeaders;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{
    ClockRecord, CommitError, Contents, Engine, Lookup, MemoryEngine, NewMessage, OpenError, Page, ReadError, Reader,
    ReceiptPage, StoreError, Write, Written,
};
use futures_util::FutureExt;

use super::*;
use crate::config::{Config, Settings};

const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);

fn config() -> Config {
    let state_dir = Some("not used".into());
    Config::from_settings(Settings { state_dir, ..Settings::default() }).unwrap()
}

fn limits() -> Limits {
    config().limits
}

fn hub() -> (Hub, Store) {
    hub_with(&limits())
}

fn hub_with(limits: &Limits) -> (Hub, Store) {
    let store = Store::open_memory(doorbell_store::Limits::default()).unwrap();
    (Hub::start(store.clone(), Clock::manual(NOW), limits, 1, Arc::default()), store)
}

/// A subscriber without the check in the store that a door's subscriber passes.
fn subscriber(hub: &Hub, agent: AgentId, mode: Mode) -> Subscriber {
    let spec = SubscriberSpec { scope: Scope::Agent, floor: None, mode, window: 10, retry: Retry::SameSubscriber };
    hub.new_subscriber(agent, AgentDoor::Http2, spec, false)
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_never_taken_for_an_empty_one_ps_8030_6_7() {
    let (hub, store) = hub();
    store.close().await.unwrap();
    let agent = AgentId::from_raw(1);
    let mut first = subscriber(&hub, agent, Mode::Hold);
    assert!(matches!(first.next().await, SubscriberEvent::Failed(HubError::Unavailable)));
    // The first one still exists: its client is slow.
    let mut second = subscriber(&hub, agent, Mode::Drain);
    assert!(matches!(second.next().await, SubscriberEvent::Failed(HubError::Unavailable)));
}

#[tokio::test]
async fn acknowledgements_under_way_are_bounded() {
    let (hub, _store) = hub();
    let max = limits().submissions_max;
    let settle = |n| Box::pin(hub.settle(AgentId::from_raw(1), MessageId::from_raw(n), Outcome::Delivered));
    // The shard does not run before this test waits for something.
    let mut under_way: Vec<_> = (0..max as i64).map(settle).collect();
    for one in &mut under_way {
        assert!(one.as_mut().now_or_never().is_none());
    }
    assert_eq!(settle(-1).await, Err(HubError::Overloaded));
    for one in under_way {
        assert_eq!(one.await, Ok(false));
    }
    assert_eq!(settle(-1).await, Ok(false));
}

const AGENT: AgentId = AgentId::from_raw(1);
const SUBSCRIPTION: SubscriptionId = SubscriptionId::from_raw(2);
const CHANNEL: &str = "channel";

/// An agent with a subscription, which has this key in the store.
async fn with_subscription(vapid_key: Option<Vec<u8>>) -> (Hub, Store) {
    with_subscription_and(vapid_key, &limits()).await
}

async fn with_subscription_and(vapid_key: Option<Vec<u8>>, limits: &Limits) -> (Hub, Store) {
    let (hub, store) = hub_with(limits);
    store.create_agent(AGENT, NOW).await.unwrap();
    let channel = Some(CHANNEL.to_owned());
    let subscription = Subscription { id: SUBSCRIPTION, agent: AGENT, vapid_key, channel, created: NOW };
    store.create_subscription(subscription).await.unwrap();
    (hub, store)
}

/// A message in the store, with this header record.
fn stored(n: i64, receipt: Option<ReceiptSubscriptionId>, headers: &[u8]) -> NewMessage {
    NewMessage {
        id: MessageId::from_raw(n),
        agent: AGENT,
        subscription: SUBSCRIPTION,
        now: NOW,
        served: NOW,
        expires_at: NOW.plus(Duration::from_secs(60)),
        topic: None,
        urgency: Urgency::Normal,
        receipt,
        headers: headers.to_vec(),
        body: Bytes::from_static(b"body"),
    }
}

async fn next_message(subscriber: &mut Subscriber) -> MessageId {
    match subscriber.next().await {
        SubscriberEvent::Message(message) => message.id,
        _ => panic!("an event instead of a message"),
    }
}

#[tokio::test]
async fn a_damaged_message_is_dropped_and_counted_and_those_around_it_go_on() {
    let (hub, store) = with_subscription(None).await;
    let receipts = hub.receipts().subscribe().await.unwrap();
    let damaged = MessageId::from_raw(11);
    store.append(stored(10, None, &[])).await.unwrap();
    store.append(stored(11, Some(receipts), &[0xff, 0])).await.unwrap();
    store.append(stored(12, None, &[])).await.unwrap();
    let mut subscriber = subscriber(&hub, AGENT, Mode::Drain);
    assert_eq!(next_message(&mut subscriber).await, MessageId::from_raw(10));
    assert_eq!(next_message(&mut subscriber).await, MessageId::from_raw(12));
    assert!(matches!(subscriber.next().await, SubscriberEvent::Drained));
    assert_eq!((hub.counters().damaged_messages(), hub.counters().damaged_keys()), (1, 0));
    let ReceiptEvent::Receipt(receipt) = hub.receipts().open(receipts, None).await.unwrap().next().await else {
        panic!("the receipt subscription stays")
    };
    assert_eq!((receipt.message, receipt.outcome), (damaged, Outcome::Dropped));
    assert!(hub.message(AGENT, damaged).await.unwrap().is_none());
    assert_eq!(hub.settle(AGENT, damaged, Outcome::Delivered).await, Ok(false));
    assert_eq!(hub.counters().damaged_messages(), 1, "it is gone from the store");
}

#[tokio::test]
async fn a_message_that_is_found_damaged_by_reading_it_is_dropped_too() {
    let (hub, store) = with_subscription(None).await;
    let damaged = MessageId::from_raw(11);
    store.append(stored(11, None, &[0xff, 0])).await.unwrap();
    for _ in 0..2 {
        // Both happen before the erasure: the second one changes nothing.
        assert!(hub.message(AGENT, damaged).await.unwrap().is_none());
    }
    assert_eq!(hub.settle(AGENT, damaged, Outcome::Delivered).await, Ok(false));
    let mut subscriber = subscriber(&hub, AGENT, Mode::Drain);
    assert!(matches!(subscriber.next().await, SubscriberEvent::Drained));
}

#[tokio::test]
async fn a_damaged_key_is_an_error_and_not_a_subscription_that_is_open_to_every_sender() {
    for length in [0, 1, 64, 65, 66] {
        let (hub, _store) = with_subscription(Some(vec![0; length])).await;
        assert_eq!(hub.restriction(SUBSCRIPTION).await, Err(HubError::Damaged), "{length} bytes");
        let found = hub.subscription_of_channel(AGENT, CHANNEL).await;
        assert_eq!(found, Ok(Some((SUBSCRIPTION, Err(HubError::Damaged)))), "{length} bytes");
        assert_eq!(hub.counters().damaged_keys(), 2, "{length} bytes");
        assert_eq!(hub.channels(AGENT).await, Ok(vec![(SUBSCRIPTION, CHANNEL.to_owned())]));
        assert_eq!(hub.channel(SUBSCRIPTION).await, Ok(Some(CHANNEL.to_owned())));
    }
    let (hub, _store) = with_subscription(None).await;
    assert_eq!(hub.restriction(SUBSCRIPTION).await, Ok(Some(None)));
}

#[tokio::test]
async fn a_message_that_a_door_cannot_deliver_is_dropped_transient_or_stored() {
    let (hub, store) = with_subscription(None).await;
    let receipts = hub.receipts().subscribe().await.unwrap();
    store.append(stored(10, Some(receipts), &[])).await.unwrap();
    let mut subscriber = subscriber(&hub, AGENT, Mode::Hold);
    let first = next_message(&mut subscriber).await;
    subscriber.undeliverable(first);
    let second = hub.submit(submission(Ttl::ZERO, Some(receipts))).await.unwrap();
    assert_eq!(next_message(&mut subscriber).await, second);
    subscriber.undeliverable(second);
    let mut stream = hub.receipts().open(receipts, None).await.unwrap();
    let mut outcomes = Vec::new();
    while outcomes.len() < 2 {
        let ReceiptEvent::Receipt(receipt) = stream.next().await else { panic!("the receipt subscription stays") };
        outcomes.push((receipt.message, receipt.outcome));
    }
    outcomes.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(outcomes, [(first, Outcome::Dropped), (second, Outcome::Dropped)]);
}

/// A message of 4096 bytes for [`SUBSCRIPTION`].
fn submission(ttl: Ttl, receipt: Option<ReceiptSubscriptionId>) -> Submission {
    Submission {
        agent: AGENT,
        subscription: SUBSCRIPTION,
        ttl,
        urgency: Urgency::Normal,
        topic: None,
        receipt,
        headers: ContentHeaders::default(),
        body: Bytes::from_static(&[7; 4096]),
    }
}

/// Little memory for bodies.
fn scarce() -> Limits {
    Limits { transient_bytes_max: 20_000, copied_bytes_max: 20_000, ..limits() }
}

#[tokio::test]
async fn messages_with_ttl_0_that_nothing_takes_are_dropped_with_their_receipts_and_another_agent_has_room() {
    let (hub, store) = with_subscription_and(None, &scarce()).await;
    let receipts = hub.receipts().subscribe().await.unwrap();
    let mut slow = subscriber(&hub, AGENT, Mode::Hold);
    let first = hub.submit(submission(Ttl::ZERO, Some(receipts))).await.unwrap();
    let mut dropped = Vec::new();
    for _ in 0..9 {
        dropped.push(hub.submit(submission(Ttl::ZERO, Some(receipts))).await.unwrap());
    }
    let mut stream = hub.receipts().open(receipts, None).await.unwrap();
    for id in dropped {
        let ReceiptEvent::Receipt(receipt) = stream.next().await else { panic!("the receipt subscription stays") };
        assert_eq!((receipt.message, receipt.outcome), (id, Outcome::Dropped));
    }
    let (other, others) = (AgentId::from_raw(8), SubscriptionId::from_raw(9));
    store.create_agent(other, NOW).await.unwrap();
    let subscription = Subscription { id: others, agent: other, vapid_key: None, channel: None, created: NOW };
    store.create_subscription(subscription).await.unwrap();
    let mut quick = subscriber(&hub, other, Mode::Hold);
    for _ in 0..20 {
        let message = Submission { agent: other, subscription: others, ..submission(Ttl::ZERO, None) };
        let id = hub.submit(message).await.unwrap();
        assert_eq!(next_message(&mut quick).await, id);
        quick.settle_for_good(id, Outcome::Delivered).await.unwrap();
    }
    assert_eq!(next_message(&mut slow).await, first, "it was there before the flood");
}

#[tokio::test]
async fn stored_messages_that_nothing_takes_wait_in_the_store_and_all_arrive_in_order() {
    let (hub, _store) = with_subscription_and(None, &scarce()).await;
    let mut subscriber = subscriber(&hub, AGENT, Mode::Hold);
    let ttl = Ttl::from_secs(60);
    let mut sent = Vec::new();
    for _ in 0..10 {
        sent.push(hub.submit(submission(ttl, None)).await.unwrap());
    }
    let held = hub.shards.copied_bytes();
    assert!(held <= 3 * 5000, "{held} bytes for ten messages");
    for id in sent {
        assert_eq!(next_message(&mut subscriber).await, id);
    }
}

const HOUR: Duration = Duration::from_secs(3600);

async fn pass_hours(clock: &Clock, keeper: &Housekeeper, count: u32) {
    for _ in 0..count {
        clock.advance(HOUR);
        keeper.expire_unused().await.unwrap();
        keeper.expire_idle().await.unwrap();
    }
}

#[tokio::test]
async fn a_crowd_of_receipt_subscriptions_without_a_reader_goes_in_two_days_and_one_with_a_stream_stays() {
    let bounds = doorbell_store::Limits { unused_receipt_subscriptions_max: 3, ..doorbell_store::Limits::default() };
    let store = Store::open_memory(bounds).unwrap();
    let hub = Hub::start(store.clone(), Clock::manual(NOW), &limits(), 1, Arc::default());
    let (clock, keeper) = (hub.clock.clone(), hub.housekeeper(Arc::new(Live::new(config()))));
    let fetched = hub.receipts().subscribe().await.unwrap();
    let _stream = hub.receipts().open(fetched, None).await.unwrap();
    let mut crowd = vec![hub.receipts().subscribe().await.unwrap(), hub.receipts().subscribe().await.unwrap()];
    assert_eq!(hub.receipts().subscribe().await, Err(HubError::ReceiptSubscriptionsFull));
    pass_hours(&clock, &keeper, 1).await;
    crowd.push(hub.receipts().subscribe().await.unwrap());
    pass_hours(&clock, &keeper, 47).await;
    assert_eq!(hub.receipts().subscribe().await, Err(HubError::ReceiptSubscriptionsFull));
    pass_hours(&clock, &keeper, 2).await;
    hub.receipts().subscribe().await.unwrap();
    assert_eq!(store.receipt_subscription_exists(crowd[0]).await, Ok(false));
    pass_hours(&clock, &keeper, 100 * 24).await;
    assert_eq!(store.receipt_subscription_exists(fetched).await, Ok(true));
}

#[tokio::test]
async fn an_agent_without_a_subscription_stays_while_it_is_connected_and_a_day_after_its_last_subscription() {
    let (hub, store) = with_subscription(None).await;
    let (clock, keeper) = (hub.clock.clone(), hub.housekeeper(Arc::new(Live::new(config()))));
    let connected = AgentId::from_raw(8);
    store.create_agent(connected, clock.served()).await.unwrap();
    // The store does not record that it is seen again so soon.
    clock.advance(7 * HOUR);
    let _stream = subscriber(&hub, connected, Mode::Hold);
    let hours = async |count| pass_hours(&clock, &keeper, count).await;
    hours(20 * 24).await;
    assert_eq!(store.agent_exists(connected).await, Ok(true));
    hub.remove(AGENT, Scope::Subscription(SUBSCRIPTION)).await.unwrap();
    hours(24 + 8 + 1).await;
    assert_eq!(store.agent_exists(AGENT).await, Ok(true), "it was seen when it lost its subscription");
    hours(1).await;
    assert_eq!(store.agent_exists(AGENT).await, Ok(false));
    assert_eq!(store.agent_exists(connected).await, Ok(true));
}

#[test]
fn a_subscriber_is_small_because_there_is_one_for_each_connected_agent() {
    assert!(size_of::<Subscriber>() <= 48, "{} bytes", size_of::<Subscriber>());
}

/// A store in memory that recovers by itself, as a database does: so many reads fail before one succeeds.
struct Remote {
    engine: MemoryEngine,
    pages: Arc<AtomicU64>,
    bodies: Arc<AtomicU64>,
}

struct RemoteReader {
    reader: Box<dyn Reader>,
    pages: Arc<AtomicU64>,
    bodies: Arc<AtomicU64>,
}

/// Fails if there are failures left.
fn fails(left: &AtomicU64) -> Result<(), ReadError> {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    taken.map_or(Ok(()), |_| Err(ReadError::Engine("the database is away".into())))
}

impl Engine for Remote {
    fn commit(&mut self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, CommitError> {
        self.engine.commit(batch)
    }

    fn set_limits(&mut self, limits: doorbell_store::Limits) {
        self.engine.set_limits(limits);
    }

    fn receipt_room(&self) -> Result<(), StoreError> {
        self.engine.receipt_room()
    }

    fn contents(&self) -> Contents {
        self.engine.contents()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, OpenError> {
        let (pages, bodies) = (self.pages.clone(), self.bodies.clone());
        Ok(Box::new(RemoteReader { reader: self.engine.reader()?, pages, bodies }))
    }

    fn greatest_id(&self) -> i64 {
        self.engine.greatest_id()
    }

    fn clock(&self) -> ClockRecord {
        self.engine.clock()
    }

    fn recovers(&self) -> bool {
        true
    }
}

impl Reader for RemoteReader {
    fn agent_exists(&mut self, id: AgentId) -> Result<bool, ReadError> {
        self.reader.agent_exists(id)
    }

    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<Subscription>, ReadError> {
        self.reader.subscription(id)
    }

    fn subscription_of_channel(&mut self, agent: AgentId, channel: &str) -> Result<Option<Subscription>, ReadError> {
        self.reader.subscription_of_channel(agent, channel)
    }

    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<Subscription>, ReadError> {
        self.reader.subscriptions_of(agent)
    }

    fn pending(&mut self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Result<Page, ReadError> {
        fails(&self.pages)?;
        self.reader.pending(agent, after, max, now)
    }

    fn messages(&mut self, ids: &[MessageId], now: UnixMs) -> Result<Vec<Lookup>, ReadError> {
        fails(&self.bodies)?;
        self.reader.messages(ids, now)
    }

    fn receipt_subscription_exists(&mut self, id: ReceiptSubscriptionId) -> Result<bool, ReadError> {
        self.reader.receipt_subscription_exists(id)
    }

    fn receipts(&mut self, of: ReceiptSubscriptionId, after: Option<i64>, max: u32) -> Result<ReceiptPage, ReadError> {
        self.reader.receipts(of, after, max)
    }
}

#[tokio::test]
async fn a_held_stream_waits_for_a_database_that_cannot_be_read_and_a_drain_fails() {
    let (pages, bodies) = (Arc::new(AtomicU64::new(2)), Arc::new(AtomicU64::new(1)));
    let limits = doorbell_store::Limits::default();
    let engine = Remote { engine: MemoryEngine::new(limits), pages: pages.clone(), bodies: bodies.clone() };
    let store = Store::start(engine, limits).unwrap();
    let clock = Clock::system();
    let hub = Hub::start(store.clone(), clock.clone(), &self::limits(), 1, Arc::default());
    store.create_agent(AGENT, NOW).await.unwrap();
    let subscription = Subscription { id: SUBSCRIPTION, agent: AGENT, vapid_key: None, channel: None, created: NOW };
    store.create_subscription(subscription).await.unwrap();
    let expires_at = clock.now().plus(Duration::from_secs(600));
    store.append(NewMessage { expires_at, ..stored(10, None, &[]) }).await.unwrap();
    let (mut held, mut drain) = (subscriber(&hub, AGENT, Mode::Hold), subscriber(&hub, AGENT, Mode::Drain));
    assert!(matches!(drain.next().await, SubscriberEvent::Failed(HubError::Unavailable)));
    assert_eq!(next_message(&mut held).await, MessageId::from_raw(10));
    let left = [pages, bodies].map(|left| left.load(Ordering::Relaxed));
    assert_eq!(left, [0, 0], "both were read again");
}
