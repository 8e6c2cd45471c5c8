//! Bounds of the whole store, and what was never used: it has a share, and goes first.

use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;
use doorbell_store::{
    IdleRemoved, Limits, MESSAGE_OVERHEAD_BYTES, NewMessage, RECEIPT_BYTES, Store, StoreError, UnusedBounds,
};

use super::open;
use crate::bed::*;

const fn days(n: i64) -> UnixMs {
    minutes(n * 24 * 60)
}

fn agent(raw: i64) -> AgentId {
    AgentId::from_raw(raw)
}

fn receipt_subscription(raw: i64) -> ReceiptSubscriptionId {
    ReceiptSubscriptionId::from_raw(raw)
}

/// Removes agents that were empty for a day, and what was unused for seven days.
async fn expire(store: &Store, now: UnixMs) -> IdleRemoved {
    let before = |n: i64| UnixMs::from_millis(now.as_millis() - n * 24 * 60 * 60_000);
    let bounds = UnusedBounds {
        now,
        empty_agents_before: before(1),
        unused_agents_before: before(7),
        unused_receipt_subscriptions_before: before(7),
        max: 32,
    };
    store.expire_unused(bounds).await.unwrap()
}

/// An agent with a subscription.
async fn subscribed(store: &Store, raw: i64, now: UnixMs) -> Result<(), StoreError> {
    store.create_agent(agent(raw), now).await?;
    store.create_subscription(subscription(SubscriptionId::from_raw(raw + 500), agent(raw))).await
}

#[tokio::test]
async fn the_store_takes_no_more_agents_and_subscriptions_than_its_bounds() {
    let limits = Limits { agents_max: 3, subscriptions_max: 4, ..Limits::default() };
    let bed = open(limits).populate().await;
    subscribed(&bed.store, 50, NOON).await.unwrap();
    assert_eq!(bed.store.create_agent(agent(51), NOON).await, Err(StoreError::StoreFull));
    assert_eq!(bed.store.create_agent(agent(50), NOON).await, Err(StoreError::IdTaken), "it is there already");
    let fifth = subscription(SubscriptionId::from_raw(700), ALICE);
    assert_eq!(bed.store.create_subscription(fifth.clone()).await, Err(StoreError::StoreFull));
    bed.store.delete_agent(agent(50), NOON).await.unwrap();
    bed.store.create_agent(agent(51), NOON).await.unwrap();
    bed.store.create_subscription(fifth).await.unwrap();
}

#[tokio::test]
async fn no_agent_is_created_without_room_for_its_subscription() {
    let bed = open(Limits { subscriptions_max: 4, ..Limits::default() }).populate().await;
    subscribed(&bed.store, 50, NOON).await.unwrap();
    for raw in 51..60 {
        assert_eq!(subscribed(&bed.store, raw, NOON).await, Err(StoreError::StoreFull));
        assert_eq!(bed.store.agent_exists(agent(raw)).await, Ok(false));
    }
    assert_eq!(bed.store.create_agent(agent(50), NOON).await, Err(StoreError::IdTaken), "it is there already");
    bed.store.delete_subscription(ALICE, ALICE_NEWS, NOON, NOON).await.unwrap();
    subscribed(&bed.store, 51, NOON).await.unwrap();
}

#[tokio::test]
async fn the_store_holds_no_more_bytes_than_its_bound_whoever_they_are_for() {
    let limits = Limits { bytes_max: 2 * (MESSAGE_OVERHEAD_BYTES + 1) + RECEIPT_BYTES, ..Limits::default() };
    let bed = open(limits).populate_with_receipts().await;
    bed.store.append(with_receipt(news(101))).await.unwrap();
    bed.store.append(to_bob(102)).await.unwrap();
    assert_eq!(bed.store.append(to_bob(103)).await, Err(StoreError::StoreFull));
    bed.store.erase(id(101), ALICE, DELIVERED, NOON).await.unwrap();
    bed.store.append(to_bob(103)).await.unwrap();
    assert_eq!(bed.store.append(to_bob(104)).await, Err(StoreError::StoreFull), "the receipt counts too");
    bed.store.take_receipts(RECEIPTS, i64::MAX, NOON).await.unwrap();
    assert_eq!(bed.store.receipt_room(), Ok(()));
    bed.store.add_receipt(RECEIPTS, id(105), BOB, DELIVERED, NOON).await.unwrap();
    assert_eq!(bed.store.receipt_room(), Err(StoreError::StoreFull));
    let promised = bed.store.add_receipt(RECEIPTS, id(106), BOB, DELIVERED, NOON);
    assert_eq!(promised.await, Ok(()), "its message was accepted before");
    bed.store.take_receipts(RECEIPTS, i64::MAX, NOON).await.unwrap();
    assert_eq!(bed.store.receipt_room(), Ok(()));
}

#[tokio::test]
async fn the_store_takes_no_more_receipt_subscriptions_than_its_bounds() {
    let limits = Limits { receipt_subscriptions_max: 4, unused_receipt_subscriptions_max: 2, ..Limits::default() };
    let bed = open(limits);
    let create = |raw| bed.store.create_receipt_subscription(receipt_subscription(raw), NOON);
    for id in [RECEIPTS, OTHER_RECEIPTS] {
        create(id.raw()).await.unwrap();
    }
    assert_eq!(create(60).await, Err(StoreError::StoreFull), "two were never used");
    for used in [RECEIPTS, OTHER_RECEIPTS] {
        bed.store.take_receipts(used, 0, NOON).await.unwrap();
    }
    create(60).await.unwrap();
    create(61).await.unwrap();
    assert_eq!(create(62).await, Err(StoreError::StoreFull));
    bed.store.delete_receipt_subscription(receipt_subscription(60)).await.unwrap();
    create(62).await.unwrap();
}

#[tokio::test]
async fn agents_that_were_never_used_have_a_share_and_used_ones_do_not_count_in_it() {
    let bed = open(Limits { unused_agents_max: 2, ..Limits::default() }).populate().await;
    assert_eq!(bed.store.create_agent(agent(50), NOON).await, Err(StoreError::StoreFull));
    bed.store.append(news(101)).await.unwrap();
    bed.store.append(news(102)).await.unwrap();
    bed.store.create_agent(agent(50), NOON).await.unwrap();
    assert_eq!(bed.store.create_agent(agent(51), NOON).await, Err(StoreError::StoreFull));
    bed.store.touch(BOB, minutes(60)).await.unwrap();
    assert_eq!(bed.store.create_agent(agent(51), NOON).await, Err(StoreError::StoreFull), "the same day");
    bed.store.touch(BOB, days(1)).await.unwrap();
    bed.store.create_agent(agent(51), NOON).await.unwrap();
}

#[tokio::test]
async fn who_subscribes_on_friday_and_gets_the_first_message_on_monday_is_still_there_in_a_crowded_store() {
    let bed = open(Limits { unused_agents_max: 8, ..Limits::default() });
    let friday = NOON;
    for raw in 50..58 {
        subscribed(&bed.store, raw, friday).await.unwrap();
    }
    assert_eq!(expire(&bed.store, days(3)).await, IdleRemoved::default());
    let to = NewMessage { agent: agent(50), subscription: SubscriptionId::from_raw(550), ..news(101) };
    bed.store.append(NewMessage { now: days(3), expires_at: days(30), ..to }).await.unwrap();
    assert_eq!(expire(&bed.store, days(7)).await, IdleRemoved::default(), "seven days, and not longer");
    let removed = expire(&bed.store, days(8)).await;
    assert!(!removed.agents.contains(&agent(50)), "the used one stays");
    assert!(bed.made_room(removed.agents.len(), 7), "{removed:?}");
}

#[tokio::test]
async fn agents_that_were_never_used_stay_while_there_is_room() {
    let bed = open(Limits { unused_agents_max: 9, ..Limits::default() });
    for raw in 50..57 {
        subscribed(&bed.store, raw, NOON).await.unwrap();
    }
    assert_eq!(expire(&bed.store, days(60)).await, IdleRemoved::default());
    subscribed(&bed.store, 57, days(60)).await.unwrap();
    assert!(bed.made_room(expire(&bed.store, days(60)).await.agents.len(), 7));
}

#[tokio::test]
async fn an_agent_without_a_subscription_expires_before_others() {
    let bed = open(Limits::default()).populate().await;
    bed.store.create_agent(agent(50), NOON).await.unwrap();
    bed.store.append(to_bob(101)).await.unwrap();
    bed.store.delete_subscription(BOB, BOB_NEWS, NOON, NOON).await.unwrap();
    bed.store.delete_subscription(ALICE, ALICE_NEWS, NOON, NOON).await.unwrap();
    assert_eq!(expire(&bed.store, days(1)).await, IdleRemoved::default());
    let removed = expire(&bed.store, UnixMs::from_millis(days(1).as_millis() + 1)).await;
    assert_eq!(removed.agents, [BOB, agent(50)], "Alice has a subscription");
    subscribed(&bed.store, 51, NOON).await.unwrap();
    assert_eq!(expire(&bed.store, days(40)).await, IdleRemoved::default());
}

#[tokio::test]
async fn an_agent_that_loses_its_last_subscription_was_seen_then_however_long_it_was_not_noted() {
    let bed = open(Limits::default()).populate().await;
    let gone = bed.store.delete_subscription(BOB, BOB_NEWS, days(40), days(40));
    assert!(gone.await.unwrap().existed);
    let one_of_two = bed.store.delete_subscription(ALICE, ALICE_NEWS, days(40), days(40));
    assert!(one_of_two.await.unwrap().existed);
    assert_eq!(expire(&bed.store, days(41)).await, IdleRemoved::default());
    // Times of service are read before writes are queued, and may be queued in another order.
    bed.store.create_subscription(subscription(BOB_NEWS, BOB)).await.unwrap();
    bed.store.delete_subscription(BOB, BOB_NEWS, days(39), days(39)).await.unwrap();
    assert_eq!(expire(&bed.store, days(41)).await, IdleRemoved::default());
    assert_eq!(expire(&bed.store, UnixMs::from_millis(days(41).as_millis() + 1)).await.agents, [BOB]);
}

#[tokio::test]
async fn receipt_subscriptions_that_were_never_used_go_first_when_they_crowd_the_store() {
    let bed = open(Limits { unused_receipt_subscriptions_max: 8, ..Limits::default() });
    for raw in 60..69 {
        let id = receipt_subscription(raw);
        bed.store.create_receipt_subscription(id, NOON).await.unwrap();
        if raw == 60 {
            bed.store.take_receipts(id, 0, NOON).await.unwrap();
        }
    }
    assert_eq!(expire(&bed.store, days(7)).await, IdleRemoved::default());
    let removed = expire(&bed.store, days(8)).await.receipt_subscriptions;
    assert!(!removed.contains(&receipt_subscription(60)), "the used one stays");
    assert!(bed.made_room(removed.len(), 8), "{removed:?}");
}

#[tokio::test]
async fn bounds_that_change_refuse_only_what_is_new_and_what_is_stored_stays() {
    let bed = open(Limits { agents_max: 3, ..Limits::default() }).populate().await;
    for raw in [101, 102, 103] {
        bed.store.append(news(raw)).await.unwrap();
    }
    bed.store.set_limits(Limits { agents_max: 1, messages_per_agent_max: 2, ..Limits::default() });
    assert_eq!(bed.store.create_agent(agent(50), NOON).await, Err(StoreError::StoreFull));
    let refused = bed.store.append(news(104)).await;
    assert!(matches!(refused, Err(StoreError::QuotaExceeded { messages: 3, .. })), "{refused:?}");
    bed.store.set_limits(Limits { bytes_max: 1, ..Limits::default() });
    assert_eq!(bed.store.append(news(104)).await.err(), Some(StoreError::StoreFull));
    assert_eq!(bed.store.receipt_room(), Err(StoreError::StoreFull));
    assert_eq!(bed.waiting(ALICE, NOON).await, [101, 102, 103], "what was accepted is delivered");
    bed.store.set_limits(Limits::default());
    bed.store.append(news(104)).await.unwrap();
    assert_eq!(bed.store.receipt_room(), Ok(()));
    subscribed(&bed.store, 50, NOON).await.unwrap();
}
