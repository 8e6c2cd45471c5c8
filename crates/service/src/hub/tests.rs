//! The hub on a store in memory: what no door shows.

use doorbell_protocol::time::UnixMs;
use futures_util::FutureExt;

use super::*;
use crate::config::{Config, Settings};

const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);

fn limits() -> Limits {
    let state_dir = Some("not used".into());
    Config::from_settings(Settings { state_dir, ..Settings::default() }).unwrap().limits
}

fn hub() -> (Hub, Store) {
    let store = Store::open_memory(doorbell_store::Limits::default()).unwrap();
    (Hub::start(store.clone(), Clock::manual(NOW), &limits(), 1), store)
}

/// A subscriber without the look into the store that a door's has to pass.
fn subscriber(hub: &Hub, agent: AgentId, mode: Mode) -> Subscriber {
    let spec = LinkSpec { scope: Scope::Agent, floor: None, mode, window: 10, retry: Retry::SameLink };
    hub.new_subscriber(agent, spec, false)
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_never_taken_for_an_empty_one_ps_8030_6_7() {
    let (hub, store) = hub();
    store.close().await.unwrap();
    let agent = AgentId::from_raw(1);
    let mut first = subscriber(&hub, agent, Mode::Hold);
    assert!(matches!(first.next().await, SubscriberEvent::Failed(HubError::Unavailable)));
    // The first one is still there: its client takes its time.
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

#[test]
fn a_subscriber_is_small_because_there_is_one_for_each_connected_agent() {
    assert!(size_of::<Subscriber>() <= 48, "{} bytes", size_of::<Subscriber>());
}
