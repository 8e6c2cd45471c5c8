//! Idle expiry: agents and receipt subscriptions that were not used for long are removed (RFC 8030 s7.3).

use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{EXPIRE_MAX, IdleBounds, IdleRemoved, Limits, NewMessage, Store, StoreError};

use super::open;
use crate::bed::*;

const fn days(n: i64) -> UnixMs {
    minutes(n * 24 * 60)
}

/// Removes what was idle for thirty days.
fn thirty_days_before(now: UnixMs) -> IdleBounds {
    let before = UnixMs::from_millis(now.as_millis() - 30 * 24 * 60 * 60_000);
    IdleBounds {
        now,
        served: now,
        agents_before: before,
        receipt_subscriptions_before: before,
        max: 32,
        keep: Vec::new(),
    }
}

async fn expire(store: &Store, now: UnixMs) -> IdleRemoved {
    store.expire_idle(thirty_days_before(now)).await.unwrap()
}

#[tokio::test]
async fn an_idle_agent_is_removed_with_its_subscriptions_and_messages_ps_8030_7_3_1_and_6_3_3() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    let unread = NewMessage { expires_at: days(60), ..with_receipt(news(101)) };
    bed.store.append(unread).await.unwrap();
    bed.store.touch(BOB, days(20)).await.unwrap();
    bed.store.take_receipts(RECEIPTS, 0, days(20)).await.unwrap();
    bed.store.take_receipts(OTHER_RECEIPTS, 0, days(20)).await.unwrap();

    assert_eq!(expire(&bed.store, days(30)).await, IdleRemoved::default(), "thirty days, and not longer");
    let removed = expire(&bed.store, days(31)).await;
    assert_eq!(removed, IdleRemoved { agents: vec![ALICE], receipts: vec![RECEIPTS], ..IdleRemoved::default() });
    assert_eq!(bed.store.agent_exists(ALICE).await, Ok(false));
    assert_eq!(bed.store.subscription(ALICE, ALICE_NEWS).await, Ok(None));
    assert_eq!(bed.receipts(RECEIPTS).await, [(101, Outcome::Unsubscribed)]);
    assert_eq!(bed.store.agent_exists(BOB).await, Ok(true));
    assert_eq!(expire(&bed.store, days(31)).await, IdleRemoved::default());
}

#[tokio::test]
async fn an_agent_that_is_seen_stays() {
    let bed = open(Limits::default()).populate().await;
    for day in 1..100 {
        bed.store.touch(ALICE, days(day)).await.unwrap();
        assert!(!expire(&bed.store, days(day)).await.agents.contains(&ALICE), "day {day}");
    }
    assert_eq!(bed.store.agent_exists(ALICE).await, Ok(true));
    assert_eq!(bed.store.agent_exists(BOB).await, Ok(false));
    assert_eq!(bed.store.touch(BOB, days(100)).await, Err(StoreError::NoAgent));
}

#[tokio::test]
async fn the_last_use_of_an_agent_is_recorded_as_precisely_as_the_limits_say_and_never_moves_back() {
    let day = 24 * 60 * 60 * 1_000;
    let bed = open(Limits { seen_precision_ms: day, ..Limits::default() }).populate().await;
    let almost = UnixMs::from_millis(days(1).as_millis() - 1);
    for moment in [almost, days(-40)] {
        bed.store.touch(ALICE, moment).await.unwrap();
    }
    bed.store.touch(BOB, days(1)).await.unwrap();
    assert_eq!(expire(&bed.store, days(31)).await.agents, [ALICE]);
}

#[tokio::test]
async fn agents_in_use_stay_whatever_was_recorded() {
    let bed = open(Limits::default()).populate().await;
    let bounds = || IdleBounds { keep: vec![BOB], ..thirty_days_before(days(31)) };
    assert_eq!(bed.store.expire_idle(bounds()).await.unwrap().agents, [ALICE]);
    assert_eq!(bed.store.agent_exists(BOB).await, Ok(true));
    assert_eq!(expire(&bed.store, days(61)).await.agents, [], "it counted as seen on day 31");
    assert_eq!(expire(&bed.store, days(62)).await.agents, [BOB]);
}

#[tokio::test]
async fn unused_subscriptions_do_not_pile_up_ps_8030_4_6() {
    let bed = open(Limits::default());
    let mut last = None;
    for n in 1..=300 {
        let agent = AgentId::from_raw(n);
        drop(bed.store.create_agent(agent, NOON));
        let subscription = subscription(SubscriptionId::from_raw(1_000 + n), agent);
        last = Some(bed.store.create_subscription(subscription));
    }
    last.unwrap().await.unwrap();
    let mut removed = Vec::new();
    loop {
        let bounds = IdleBounds { max: u32::MAX, ..thirty_days_before(days(31)) };
        let step = bed.store.expire_idle(bounds).await.unwrap();
        assert!(step.agents.len() <= EXPIRE_MAX as usize * bed.cells, "its own bound");
        removed.extend(step.agents);
        if !step.more {
            break;
        }
    }
    removed.sort_unstable();
    assert_eq!(removed, (1..=300).map(AgentId::from_raw).collect::<Vec<_>>());
    assert_eq!(bed.store.subscription(ALICE, SubscriptionId::from_raw(1_300)).await, Ok(None));
}

#[tokio::test]
async fn a_receipt_subscription_lives_as_long_as_it_is_used_ps_8030_7_3_5() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    let third = ReceiptSubscriptionId::from_raw(33);
    bed.store.create_receipt_subscription(third, NOON).await.unwrap();
    let sent = NewMessage { now: days(10), served: days(10), expires_at: days(90), ..with_receipt(to_bob(101)) };
    join(&bed.store, RECEIPTS, days(10)).await;
    bed.store.append(sent).await.unwrap();
    bed.store.take_receipts(OTHER_RECEIPTS, 0, days(20)).await.unwrap();
    for agent in [ALICE, BOB] {
        bed.store.touch(agent, days(60)).await.unwrap();
    }

    let gone = |ids: &[_]| IdleRemoved { receipt_subscriptions: ids.to_vec(), ..IdleRemoved::default() };
    assert_eq!(expire(&bed.store, days(39)).await, gone(&[third]));
    assert_eq!(expire(&bed.store, days(49)).await, gone(&[RECEIPTS]));
    assert_eq!(expire(&bed.store, days(59)).await, gone(&[OTHER_RECEIPTS]));
    assert_eq!(bed.store.receipt_subscription_exists(RECEIPTS).await, Ok(false));
    let again = bed.store.append(with_receipt(news(102))).await;
    assert_eq!(again, Err(StoreError::NoReceiptSubscription), "PS-8030-5.1-5: it is unknown from now on");
    let late = bed.store.erase(id(101), BOB, DELIVERED, days(60)).await.unwrap();
    assert!(late.existed && late.receipt.is_none());
}

#[tokio::test]
async fn agents_and_receipt_subscriptions_that_are_removed_together_leave_no_receipts() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    bed.store.append(NewMessage { expires_at: days(90), ..with_receipt(news(101)) }).await.unwrap();
    let removed = expire(&bed.store, days(31)).await;
    let both = vec![RECEIPTS, OTHER_RECEIPTS];
    let all = IdleRemoved { agents: vec![ALICE, BOB], receipt_subscriptions: both, ..IdleRemoved::default() };
    assert_eq!(removed, all);
}
