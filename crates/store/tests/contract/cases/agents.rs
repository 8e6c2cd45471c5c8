//! Agents and subscriptions: created once, read back, removed with what belongs to them.

use doorbell_protocol::id::{AgentId, SubscriptionId};
use doorbell_store::{Erased, Limits, Lookup, Removed, StoreError, Subscription};

use super::open;
use crate::bed::*;

#[tokio::test]
async fn what_was_created_can_be_read() {
    let Bed { store, .. } = open(Limits::default()).populate().await;
    let id = SubscriptionId::from_raw(13);
    let restricted = Subscription { vapid_key: Some(vec![4; 65]), ..subscription(id, ALICE) };
    store.create_subscription(restricted.clone()).await.unwrap();

    assert_eq!(store.agent_exists(ALICE).await, Ok(true));
    assert_eq!(store.subscription(ALICE, id).await, Ok(Some(restricted.clone())));
    let all = vec![subscription(ALICE_NEWS, ALICE), subscription(ALICE_CHAT, ALICE), restricted];
    assert_eq!(store.subscriptions_of(ALICE).await, Ok(all));
}

#[tokio::test]
async fn an_agent_finds_its_subscription_by_channel_and_uses_each_channel_once() {
    let Bed { store, .. } = open(Limits::default()).populate().await;
    let called = |n, agent, channel: &str| Subscription {
        channel: Some(channel.to_owned()),
        ..subscription(SubscriptionId::from_raw(n), agent)
    };
    let first = called(13, ALICE, "d9b74644-4f97-46aa-b8fa-9393985cd6cd");
    store.create_subscription(first.clone()).await.unwrap();
    let channel = || "d9b74644-4f97-46aa-b8fa-9393985cd6cd".to_owned();
    assert_eq!(store.subscription(ALICE, first.id).await, Ok(Some(first.clone())));
    assert_eq!(store.subscription_of_channel(ALICE, channel()).await, Ok(Some(first.clone())));
    assert_eq!(store.subscription_of_channel(ALICE, "D9B7".to_owned()).await, Ok(None));
    assert_eq!(store.subscription_of_channel(BOB, channel()).await, Ok(None));

    let again = called(14, ALICE, &channel());
    assert_eq!(store.create_subscription(again.clone()).await, Err(StoreError::ChannelTaken));
    let bobs = called(15, BOB, &channel());
    assert_eq!(store.create_subscription(bobs).await, Ok(()), "another agent's names are its own");
    store.delete_subscription(ALICE, first.id, NOON, NOON).await.unwrap();
    assert_eq!(store.subscription_of_channel(ALICE, channel()).await, Ok(None));
    assert_eq!(store.create_subscription(again).await, Ok(()));
}

#[tokio::test]
async fn what_was_not_created_does_not_exist() {
    let Bed { store, .. } = open(Limits::default());
    assert_eq!(store.agent_exists(ALICE).await, Ok(false));
    assert_eq!(store.subscription(ALICE, ALICE_NEWS).await, Ok(None));
    assert_eq!(store.subscriptions_of(ALICE).await, Ok(vec![]));
    assert_eq!(store.delete_agent(ALICE, NOON).await, Ok(Removed { existed: false, receipts: Vec::new() }));
    assert_eq!(
        store.delete_subscription(ALICE, ALICE_NEWS, NOON, NOON).await,
        Ok(Removed { existed: false, receipts: Vec::new() })
    );
    assert_eq!(store.erase(id(1), ALICE, DELIVERED, NOON).await, Ok(Erased { existed: false, receipt: None }));
}

#[tokio::test]
async fn an_id_is_used_once() {
    let Bed { store, .. } = open(Limits::default()).populate().await;
    assert_eq!(store.create_agent(ALICE, NOON).await, Err(StoreError::IdTaken));
    // One that lives in the same cell.
    let other = AgentId::from_raw(3);
    store.create_agent(other, NOON).await.unwrap();
    let again = Subscription { vapid_key: Some(vec![4; 65]), ..subscription(ALICE_NEWS, other) };
    assert_eq!(store.create_subscription(again).await, Err(StoreError::IdTaken));
    assert_eq!(store.subscription(ALICE, ALICE_NEWS).await, Ok(Some(subscription(ALICE_NEWS, ALICE))));
}

#[tokio::test]
async fn a_subscription_needs_its_agent() {
    let Bed { store, .. } = open(Limits::default());
    let orphan = subscription(ALICE_NEWS, ALICE);
    assert_eq!(store.create_subscription(orphan).await, Err(StoreError::NoAgent));
    assert_eq!(store.subscription(ALICE, ALICE_NEWS).await, Ok(None));
}

#[tokio::test]
async fn an_agent_has_a_bounded_number_of_subscriptions() {
    let Bed { store, .. } = open(Limits { subscriptions_per_agent_max: 2, ..Limits::default() }).populate().await;
    let third = subscription(SubscriptionId::from_raw(13), ALICE);
    assert_eq!(store.create_subscription(third.clone()).await, Err(StoreError::TooManySubscriptions));
    store.delete_subscription(ALICE, ALICE_CHAT, NOON, NOON).await.unwrap();
    assert_eq!(store.create_subscription(third).await, Ok(()));
}

#[tokio::test]
async fn a_subscription_is_removed_by_its_agent_only() {
    let bed = open(Limits::default()).populate().await;
    bed.store.append(news(101)).await.unwrap();
    assert_eq!(
        bed.store.delete_subscription(BOB, ALICE_NEWS, NOON, NOON).await,
        Ok(Removed { existed: false, receipts: Vec::new() })
    );
    assert_eq!(bed.waiting(ALICE, NOON).await, [101]);
}

#[tokio::test]
async fn a_removed_subscription_loses_its_messages_and_the_others_stay_ps_8030_7_3_4() {
    let bed = open(Limits::default()).populate().await;
    for message in [news(101), chat(102), news(103), to_bob(104)] {
        bed.store.append(message).await.unwrap();
    }
    assert_eq!(
        bed.store.delete_subscription(ALICE, ALICE_NEWS, NOON, NOON).await,
        Ok(Removed { existed: true, receipts: Vec::new() })
    );
    assert_eq!(bed.store.subscription(ALICE, ALICE_NEWS).await, Ok(None));
    assert_eq!(bed.waiting(ALICE, NOON).await, [102]);
    assert_eq!(bed.waiting(BOB, NOON).await, [104]);
    assert_eq!(bed.store.messages(ALICE, vec![id(101)], NOON).await, Ok(vec![Lookup::Absent]));
    assert_eq!(bed.store.append(news(105)).await, Err(StoreError::NoSubscription));
    assert_eq!(
        bed.store.delete_subscription(ALICE, ALICE_NEWS, NOON, NOON).await,
        Ok(Removed { existed: false, receipts: Vec::new() })
    );
}

#[tokio::test]
async fn a_removed_agent_loses_its_subscriptions_and_messages_ps_8030_7_3_1_3() {
    let bed = open(Limits::default()).populate().await;
    for message in [news(101), chat(102), to_bob(103)] {
        bed.store.append(message).await.unwrap();
    }
    assert_eq!(bed.store.delete_agent(ALICE, NOON).await, Ok(Removed { existed: true, receipts: Vec::new() }));
    assert_eq!(bed.store.agent_exists(ALICE).await, Ok(false));
    assert_eq!(bed.store.subscriptions_of(ALICE).await, Ok(vec![]));
    assert_eq!(bed.store.subscription(ALICE, ALICE_CHAT).await, Ok(None));
    assert!(bed.waiting(ALICE, NOON).await.is_empty());
    assert_eq!(bed.store.messages(ALICE, vec![id(101), id(102)], NOON).await, Ok(vec![Lookup::Absent, Lookup::Absent]));
    assert_eq!(bed.waiting(BOB, NOON).await, [103]);
    assert_eq!(
        bed.store.delete_agent(AgentId::from_raw(3), NOON).await,
        Ok(Removed { existed: false, receipts: Vec::new() })
    );
}

#[tokio::test]
async fn a_channel_may_be_long_and_have_any_characters() {
    let store = open(Limits::default()).populate().await.store;
    // No compression makes it short.
    let mut state = 1u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from_u32(state >> 25).unwrap()
    };
    let long: String = std::iter::once('\0').chain(std::iter::repeat_with(&mut letter).take(3_100)).collect();
    let new = Subscription { channel: Some(long.clone()), ..subscription(SubscriptionId::from_raw(13), ALICE) };
    store.create_subscription(new.clone()).await.unwrap();
    assert_eq!(store.subscription_of_channel(ALICE, long.clone()).await, Ok(Some(new.clone())));
    let again = Subscription { id: SubscriptionId::from_raw(14), ..new };
    assert_eq!(store.create_subscription(again).await, Err(StoreError::ChannelTaken));
    assert_eq!(store.subscription_of_channel(ALICE, format!("{long}.")).await, Ok(None));
}
