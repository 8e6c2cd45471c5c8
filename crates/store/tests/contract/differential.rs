//! The engines compared: any sequence of batches gets the same answers from both, across restarts.

use bytes::Bytes;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
#[cfg(feature = "postgres")]
use doorbell_store::PostgresEngine;
use doorbell_store::{
    Contents, Ended, Engine, IdleBounds, Limits, MemoryEngine, NewMessage, Reader, SqliteEngine, Subscription,
    UnusedBounds, Write,
};
use proptest::prelude::*;

use crate::bed::{NOON, id, minutes, topic};

/// So small that every bound is reached often.
fn limits() -> Limits {
    Limits {
        messages_per_agent_max: 4,
        bytes_per_agent_max: 30,
        subscriptions_per_agent_max: 2,
        receipts_per_subscription_max: 3,
        seen_precision_ms: 5 * 60_000,
        agents_max: 3,
        unused_agents_max: 2,
        subscriptions_max: 3,
        bytes_max: 2_000,
        receipt_subscriptions_max: 2,
        unused_receipt_subscriptions_max: 1,
        ..Limits::default()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Write>),
    Restart,
}

/// There are few agents, so that operations collide. One write in four names an agent and a subscription that do not
/// belong together.
fn agents() -> impl Strategy<Value = AgentId> {
    (1i64..=3).prop_map(AgentId::from_raw)
}

fn subscriptions() -> impl Strategy<Value = (AgentId, SubscriptionId)> {
    let strangers = (agents(), 1i64..=4);
    let of_its_agent = (1i64..=4).prop_map(|n| (AgentId::from_raw(1 + n % 3), n));
    prop_oneof![1 => strangers, 3 => of_its_agent].prop_map(|(agent, n)| (agent, SubscriptionId::from_raw(10 + n)))
}

fn receipt_subscriptions() -> impl Strategy<Value = ReceiptSubscriptionId> {
    (21i64..=23).prop_map(ReceiptSubscriptionId::from_raw)
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    (0..Outcome::ALL.len()).prop_map(|place| Outcome::ALL[place])
}

fn moments() -> impl Strategy<Value = UnixMs> {
    (0i64..60).prop_map(minutes)
}

fn messages() -> impl Strategy<Value = NewMessage> {
    let topics = prop_oneof![Just(None), Just(topic("a")), Just(topic("b"))];
    let sizes = (0usize..12, 0usize..4);
    let receipt = proptest::option::of(receipt_subscriptions());
    let parts = (subscriptions(), 100i64..140, moments(), moments(), topics, 0usize..4, sizes, receipt);
    parts.prop_map(|((agent, subscription), raw, now, expires_at, topic, urgency, (body, headers), receipt)| {
        NewMessage {
            id: id(raw),
            agent,
            subscription,
            now,
            served: now,
            expires_at,
            topic,
            urgency: Urgency::ALL[urgency],
            receipt,
            headers: vec![1; headers],
            body: Bytes::from(vec![2; body]),
        }
    })
}

fn writes() -> impl Strategy<Value = Write> {
    let key = proptest::option::of(Just(vec![4; 65]));
    let channel = proptest::option::of((0..3).prop_map(|n| format!("channel-{n}")));
    prop_oneof![
        3 => (agents(), moments()).prop_map(|(id, served)| Write::CreateAgent { id, served }),
        3 => (subscriptions(), key, channel).prop_map(|((agent, id), vapid_key, channel)| {
            Write::CreateSubscription(Subscription { id, agent, vapid_key, channel, created: NOON })
        }),
        12 => messages().prop_map(Write::Append),
        3 => (100i64..140, agents(), outcomes(), moments())
            .prop_map(|(raw, agent, outcome, now)| Write::Erase { id: id(raw), agent, outcome, now }),
        1 => (subscriptions(), moments(), moments())
            .prop_map(|((agent, id), now, served)| Write::DeleteSubscription { id, agent, now, served }),
        1 => (agents(), moments()).prop_map(|(id, now)| Write::DeleteAgent { id, now }),
        1 => (moments(), 0u32..4).prop_map(|(now, max)| Write::Sweep { now, max }),
        2 => (receipt_subscriptions(), moments())
            .prop_map(|(id, served)| Write::CreateReceiptSubscription { id, served }),
        2 => (receipt_subscriptions(), 100i64..160, agents(), outcomes(), moments()).prop_map(
            |(receipt_subscription, raw, agent, outcome, now)| {
                Write::AddReceipt { receipt_subscription, message: id(raw), agent, outcome, now }
            }
        ),
        2 => (receipt_subscriptions(), -1i64..60, moments()).prop_map(|(receipt_subscription, up_to, served)| {
            Write::TakeReceipts { receipt_subscription, up_to, served }
        }),
        1 => (receipt_subscriptions(), moments())
            .prop_map(|(id, served)| Write::JoinReceiptSubscription { id, served }),
        1 => (receipt_subscriptions(), moments())
            .prop_map(|(id, served)| Write::UseReceiptSubscription { id, served }),
        1 => receipt_subscriptions().prop_map(|id| Write::DeleteReceiptSubscription { id }),
        2 => (agents(), moments()).prop_map(|(agent, served)| Write::Touch { agent, served }),
        1 => idle_bounds().prop_map(Write::ExpireIdle),
        1 => unused_bounds().prop_map(Write::ExpireUnused),
    ]
}

fn unused_bounds() -> impl Strategy<Value = UnusedBounds> {
    let before = || (-5i64..30).prop_map(minutes);
    (moments(), before(), before(), before(), 0u32..3).prop_map(|(now, empty, agents, receipts, max)| UnusedBounds {
        now,
        empty_agents_before: empty,
        unused_agents_before: agents,
        unused_receipt_subscriptions_before: receipts,
        max,
    })
}

fn idle_bounds() -> impl Strategy<Value = IdleBounds> {
    // So early that some are not idle.
    let before = || (-5i64..10).prop_map(minutes);
    let keep = proptest::collection::vec(agents(), 0..2);
    (moments(), moments(), before(), before(), 0u32..3, keep).prop_map(
        |(now, served, agents_before, receipt_subscriptions_before, max, keep)| IdleBounds {
            now,
            served,
            agents_before,
            receipt_subscriptions_before,
            max,
            keep,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let commit = proptest::collection::vec(writes(), 1..20).prop_map(Step::Commit);
    proptest::collection::vec(prop_oneof![5 => commit, 1 => Just(Step::Restart)], 1..16)
}

/// Everything that reads return.
fn view(reader: &mut dyn Reader, now: UnixMs) -> impl PartialEq + std::fmt::Debug + use<> {
    let agents: Vec<_> = (1..=3).map(AgentId::from_raw).collect();
    let per_agent: Vec<_> = agents
        .into_iter()
        .map(|agent| {
            let first = reader.pending(agent, None, 2, now).unwrap();
            let rest = reader.pending(agent, first.entries.last().map(|e| e.id), 100, now).unwrap();
            let called: Vec<_> =
                (0..3).map(|n| reader.subscription_of_channel(agent, &format!("channel-{n}"))).collect();
            (reader.agent_exists(agent), reader.subscriptions_of(agent), called, first, rest)
        })
        .collect();
    let subscriptions: Vec<_> = (11..=14).map(|n| reader.subscription(SubscriptionId::from_raw(n))).collect();
    let messages = reader.messages(&(100..140).map(id).collect::<Vec<_>>(), now);
    let receipts: Vec<_> = (21..=23)
        .map(ReceiptSubscriptionId::from_raw)
        .map(|id| {
            let first = reader.receipts(id, None, 2).unwrap();
            let rest = reader.receipts(id, first.receipts.last().map(|receipt| receipt.seq), 100).unwrap();
            (reader.receipt_subscription_exists(id), first, rest)
        })
        .collect();
    (per_agent, subscriptions, messages, receipts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_engines_give_the_same_answers(steps in steps(), now in moments()) {
        let dir = tempfile::tempdir().unwrap();
        compare(|| SqliteEngine::open(dir.path(), limits()).unwrap(), steps, now)?;
    }
}

#[cfg(feature = "postgres")]
proptest! {
    // Each opens and reads several times, over connections.
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_on_postgresql_gives_the_same_answers_too(steps in steps(), now in moments()) {
        let Some((server, options)) = crate::postgres::server::reused() else { return Ok(()) };
        // Cheaper than a database of its own.
        let database = crate::postgres::server::database(options);
        server.sql(database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        compare(|| PostgresEngine::open(options, limits()).unwrap(), steps, now)?;
    }
}

fn compare<E: Engine>(open: impl Fn() -> E, steps: Vec<Step>, now: UnixMs) -> Result<(), TestCaseError> {
    let mut model = MemoryEngine::new(limits());
    let mut opened = Some(open());
    let mut reader = None;
    // What ended is counted since an engine was opened.
    let mut restarted = false;
    for step in steps {
        match step {
            Step::Commit(batch) => {
                let engine = opened.as_mut().unwrap();
                prop_assert_eq!(model.commit(&batch), engine.commit(&batch));
                model.assert_consistent();
                engine.tidy().unwrap();
            }
            Step::Restart => {
                // The lock is released before it is taken again.
                drop((reader.take(), opened.take()));
                opened = Some(open());
                restarted = true;
            }
        }
        let engine = opened.as_ref().unwrap();
        prop_assert_eq!(model.greatest_id(), engine.greatest_id());
        let comparable = |contents: Contents| {
            let ended = if restarted { Ended::default() } else { contents.ended };
            // Only one of them has a disk.
            Contents { reserve_bytes: 0, disk_available_bytes: None, ended, ..contents }
        };
        prop_assert_eq!(comparable(model.contents()), comparable(engine.contents()));
        let mut expected = model.reader().unwrap();
        let found = reader.get_or_insert_with(|| engine.reader().unwrap());
        prop_assert_eq!(view(&mut *expected, now), view(&mut **found, now));
    }
    Ok(())
}
