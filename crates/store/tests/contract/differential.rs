//! The engines against each other: any sequence of batches gets the same answers from both, across restarts.

use bytes::Bytes;
use doorbell_protocol::{
    headers::urgency::Urgency,
    id::{AgentId, SubscriptionId},
    time::UnixMs,
};
use doorbell_store::{Engine, Limits, MemoryEngine, NewMessage, Reader, SqliteEngine, Subscription, Write};
use proptest::prelude::*;

use crate::bed::{DELIVERED, NOON, id, minutes, topic};

/// Small enough for every bound to be met often.
fn limits() -> Limits {
    Limits { messages_per_agent_max: 4, bytes_per_agent_max: 30, subscriptions_per_agent_max: 2, ..Limits::default() }
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Write>),
    Restart,
}

/// Agents are few, so that operations meet; one in four names what does not belong together.
fn agents() -> impl Strategy<Value = AgentId> {
    (1i64..=3).prop_map(AgentId::from_raw)
}

fn subscriptions() -> impl Strategy<Value = (AgentId, SubscriptionId)> {
    let strangers = (agents(), 1i64..=4);
    let of_its_agent = (1i64..=4).prop_map(|n| (AgentId::from_raw(1 + n % 3), n));
    prop_oneof![1 => strangers, 3 => of_its_agent].prop_map(|(agent, n)| (agent, SubscriptionId::from_raw(10 + n)))
}

fn moments() -> impl Strategy<Value = UnixMs> {
    (0i64..60).prop_map(minutes)
}

fn messages() -> impl Strategy<Value = NewMessage> {
    let topics = prop_oneof![Just(None), Just(topic("a")), Just(topic("b"))];
    let parts = (subscriptions(), 100i64..140, moments(), moments(), topics, 0usize..4, 0usize..12, 0usize..4);
    parts.prop_map(|((agent, subscription), raw, now, expires_at, topic, urgency, body, headers)| NewMessage {
        id: id(raw),
        agent,
        subscription,
        now,
        expires_at,
        topic,
        urgency: Urgency::ALL[urgency],
        receipt: None,
        headers: vec![1; headers],
        body: Bytes::from(vec![2; body]),
    })
}

fn writes() -> impl Strategy<Value = Write> {
    let key = proptest::option::of(Just([4; 65]));
    prop_oneof![
        2 => agents().prop_map(|id| Write::CreateAgent { id, now: NOON }),
        3 => (subscriptions(), key).prop_map(|((agent, id), vapid_key)| {
            Write::CreateSubscription(Subscription { id, agent, vapid_key, created: NOON })
        }),
        12 => messages().prop_map(Write::Append),
        3 => (100i64..140, agents()).prop_map(|(raw, agent)| Write::Erase { id: id(raw), agent, outcome: DELIVERED, now: NOON }),
        1 => subscriptions().prop_map(|(agent, id)| Write::DeleteSubscription { id, agent, now: NOON }),
        1 => agents().prop_map(|id| Write::DeleteAgent { id, now: NOON }),
        1 => (moments(), 0u32..4).prop_map(|(now, max)| Write::Sweep { now, max }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let commit = proptest::collection::vec(writes(), 1..20).prop_map(Step::Commit);
    proptest::collection::vec(prop_oneof![5 => commit, 1 => Just(Step::Restart)], 1..16)
}

/// Everything that reads can show.
fn view(reader: &mut dyn Reader, now: UnixMs) -> impl PartialEq + std::fmt::Debug + use<> {
    let agents: Vec<_> = (1..=3).map(AgentId::from_raw).collect();
    let per_agent: Vec<_> = agents
        .into_iter()
        .map(|agent| {
            let first = reader.pending(agent, None, 2, now).unwrap();
            let rest = reader.pending(agent, first.entries.last().map(|e| e.id), 100, now).unwrap();
            (reader.agent_exists(agent), reader.subscriptions_of(agent), first, rest)
        })
        .collect();
    let subscriptions: Vec<_> = (11..=14).map(|n| reader.subscription(SubscriptionId::from_raw(n))).collect();
    let messages = reader.messages(&(100..140).map(id).collect::<Vec<_>>(), now);
    (per_agent, subscriptions, messages)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_engines_give_the_same_answers(steps in steps(), now in moments()) {
        let dir = tempfile::tempdir().unwrap();
        let mut model = MemoryEngine::new(limits());
        let mut sqlite = Some(SqliteEngine::open(dir.path(), limits()).unwrap());
        for step in steps {
            match step {
                Step::Commit(batch) => {
                    let engine = sqlite.as_mut().unwrap();
                    prop_assert_eq!(model.commit(&batch), engine.commit(&batch));
                    engine.tidy().unwrap();
                }
                Step::Restart => {
                    // The lock is released before it is taken again.
                    drop(sqlite.take());
                    sqlite = Some(SqliteEngine::open(dir.path(), limits()).unwrap());
                }
            }
            let engine = sqlite.as_ref().unwrap();
            prop_assert_eq!(model.greatest_id(), engine.greatest_id());
            let (mut expected, mut found) = (model.reader().unwrap(), engine.reader().unwrap());
            prop_assert_eq!(view(&mut *expected, now), view(&mut *found, now));
        }
    }
}
