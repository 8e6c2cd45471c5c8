//! A store of three cells compared with one of a single cell: any sequence of operations gets the same answers.
//!
//! Left out is what differs on purpose: the order of receipts between cells, and bounds that count rows of each cell.

use std::collections::HashSet;

use bytes::Bytes;
use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{
    CellPlan, Engine, IdleBounds, Limits, MemoryEngine, NewMessage, ReceiptPosition, SqliteEngine, Store, Subscription,
};
use proptest::prelude::*;

use crate::bed::{NOON, id, minutes, news, topic};

const CELLS: usize = 3;

fn limits() -> Limits {
    Limits {
        messages_per_agent_max: 4,
        bytes_per_agent_max: 30,
        subscriptions_per_agent_max: 2,
        seen_precision_ms: 5 * 60_000,
        reserve_bytes: 0,
        ..Limits::default()
    }
}

#[derive(Clone, Debug)]
enum Step {
    CreateAgent(i64, UnixMs),
    CreateSubscription { agent: i64, n: i64, channel: bool },
    Append(NewMessage),
    Erase { agent: i64, n: i64, outcome: Outcome, now: UnixMs },
    DeleteSubscription { agent: i64, n: i64, now: UnixMs },
    DeleteAgent(i64, UnixMs),
    CreateReceipts(i64),
    AddReceipt { of: i64, agent: i64, n: i64 },
    TakeReceipts(i64),
    DeleteReceipts(i64),
    Touch(i64, UnixMs),
    Sweep(UnixMs),
    ExpireIdle(UnixMs),
}

/// The ids of an agent's own, so that none is used in two cells: the mint uses each once.
fn subscription_of(agent: i64, n: i64) -> SubscriptionId {
    SubscriptionId::from_raw(agent * 1_000 + n)
}

fn receipts_of(n: i64) -> ReceiptSubscriptionId {
    ReceiptSubscriptionId::from_raw(50_000 + n)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let agent = || 1i64..=6;
    let moment = || (0i64..50).prop_map(minutes);
    let outcome = (0..Outcome::ALL.len()).prop_map(|place| Outcome::ALL[place]);
    let topics = prop_oneof![Just(None), Just(topic("a"))];
    let parts = (agent(), 0i64..3, 100i64..120, moment(), moment(), topics, 0usize..12, proptest::option::of(0i64..4));
    let message = parts.prop_map(|(agent, n, raw, now, expires_at, topic, size, receipt)| NewMessage {
        agent: AgentId::from_raw(agent),
        subscription: subscription_of(agent, n),
        now,
        served: now,
        expires_at,
        topic,
        receipt: receipt.map(receipts_of),
        body: Bytes::from(vec![2; size]),
        ..news(agent * 10_000 + raw)
    });
    let step = prop_oneof![
        4 => (agent(), moment()).prop_map(|(agent, now)| Step::CreateAgent(agent, now)),
        4 => (agent(), 0i64..3, any::<bool>())
            .prop_map(|(agent, n, channel)| Step::CreateSubscription { agent, n, channel }),
        12 => message.prop_map(Step::Append),
        4 => (agent(), 100i64..120, outcome, moment())
            .prop_map(|(agent, n, outcome, now)| Step::Erase { agent, n, outcome, now }),
        1 => (agent(), 0i64..3, moment()).prop_map(|(agent, n, now)| Step::DeleteSubscription { agent, n, now }),
        1 => (agent(), moment()).prop_map(|(agent, now)| Step::DeleteAgent(agent, now)),
        3 => (0i64..4).prop_map(Step::CreateReceipts),
        1 => (0i64..4, agent(), 200i64..220).prop_map(|(of, agent, n)| Step::AddReceipt { of, agent, n }),
        2 => (0i64..4).prop_map(Step::TakeReceipts),
        1 => (0i64..4).prop_map(Step::DeleteReceipts),
        1 => (agent(), moment()).prop_map(|(agent, now)| Step::Touch(agent, now)),
        1 => moment().prop_map(Step::Sweep),
        1 => moment().prop_map(Step::ExpireIdle),
    ];
    proptest::collection::vec(step, 1..80)
}

/// Does a step, and returns its answer and what it wakes, in an order that does not depend on the cells.
async fn answer(store: &Store, step: &Step) -> String {
    match step.clone() {
        Step::CreateAgent(agent, now) => format!("{:?}", store.create_agent(AgentId::from_raw(agent), now).await),
        Step::CreateSubscription { agent, n, channel } => {
            let channel = channel.then(|| format!("channel-{n}"));
            let (id, agent) = (subscription_of(agent, n), AgentId::from_raw(agent));
            let new = Subscription { id, agent, vapid_key: None, channel, created: NOON };
            format!("{:?}", store.create_subscription(new).await)
        }
        Step::Append(message) => {
            if let Some(receipt) = message.receipt
                && let Some(joined) = store.join_receipts(message.agent, receipt, message.served)
            {
                // A refusal is the append's too.
                let _ = joined.await;
            }
            format!("{:?}", store.append(message).await)
        }
        Step::Erase { agent, n, outcome, now } => {
            format!("{:?}", store.erase(id(agent * 10_000 + n), AgentId::from_raw(agent), outcome, now).await)
        }
        Step::DeleteSubscription { agent, n, now } => {
            let removed = store.delete_subscription(AgentId::from_raw(agent), subscription_of(agent, n), now, now);
            format!("{:?}", removed.await)
        }
        Step::DeleteAgent(agent, now) => format!("{:?}", store.delete_agent(AgentId::from_raw(agent), now).await),
        Step::CreateReceipts(n) => format!("{:?}", store.create_receipt_subscription(receipts_of(n), NOON).await),
        Step::AddReceipt { of, agent, n } => {
            let (message, agent) = (id(agent * 10_000 + n), AgentId::from_raw(agent));
            format!("{:?}", store.add_receipt(receipts_of(of), message, agent, Outcome::Dropped, NOON).await)
        }
        Step::TakeReceipts(n) => {
            let page = store.receipts(receipts_of(n), 0, 1_000).await.unwrap();
            let mut position = ReceiptPosition::default();
            page.receipts.iter().for_each(|receipt| position.pass(receipt));
            format!("{:?}", store.take_receipts(receipts_of(n), position, NOON).await)
        }
        Step::DeleteReceipts(n) => format!("{:?}", store.delete_receipt_subscription(receipts_of(n)).await),
        Step::Touch(agent, now) => format!("{:?}", store.touch(AgentId::from_raw(agent), now).await),
        Step::Sweep(now) => format!("{:?}", store.sweep(now, 1_000).await),
        Step::ExpireIdle(before) => {
            let bounds = IdleBounds {
                now: minutes(60),
                served: minutes(60),
                agents_before: before,
                // What a use was is noted in the cell where it was.
                receipt_subscriptions_before: minutes(-1_000),
                max: 32,
                keep: Vec::new(),
            };
            let mut removed = store.expire_idle(bounds).await.unwrap();
            removed.agents.sort_unstable();
            format!("{removed:?}")
        }
    }
}

/// Everything that reads return.
async fn view(store: &Store, now: UnixMs) -> String {
    let mut seen = String::new();
    for raw in 1..=6 {
        let agent = AgentId::from_raw(raw);
        let page = store.pending(agent, None, 100, now).await.unwrap();
        let ids = (100..120).map(|n| id(raw * 10_000 + n)).collect();
        let messages = store.messages(agent, ids, now).await.unwrap();
        let exists = store.agent_exists(agent).await;
        seen += &format!("{exists:?} {:?} {page:?} {messages:?}\n", store.subscriptions_of(agent).await);
        for n in 0..3 {
            let called = store.subscription_of_channel(agent, format!("channel-{n}")).await;
            seen += &format!("{called:?} {:?}\n", store.subscription(agent, subscription_of(raw, n)).await);
        }
    }
    for n in 0..4 {
        let page = store.receipts(receipts_of(n), 0, 1_000).await.unwrap();
        let mut receipts: Vec<_> = page.receipts.iter().map(|r| (r.message, r.agent, r.outcome, r.at)).collect();
        receipts.sort_unstable_by_key(|(message, agent, outcome, at)| (*message, *agent, outcome.code(), *at));
        seen += &format!("{:?} {receipts:?}\n", store.receipt_subscription_exists(receipts_of(n)).await);
    }
    let contents = store.figures().contents;
    let (messages, bytes, ended) = (contents.messages, contents.bytes, contents.ended);
    seen + &format!("{} {} {messages} {bytes} {ended:?}", contents.agents, contents.subscriptions)
}

async fn compare(steps: Vec<Step>, now: UnixMs) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let one = Store::open_memory(limits()).unwrap();
    let sqlite = SqliteEngine::open(dir.path(), limits()).unwrap();
    let memory = || Box::new(MemoryEngine::new(limits()));
    let engines: Vec<Box<dyn Engine>> = vec![memory(), Box::new(sqlite), memory()];
    let several = Store::start_cells(engines, CellPlan::new(CELLS), limits()).unwrap();
    let mut deleted = HashSet::new();
    for step in &steps {
        match step {
            Step::DeleteReceipts(n) => drop(deleted.insert(*n)),
            // Ids are used once.
            Step::CreateReceipts(n) if deleted.contains(n) => continue,
            _ => {}
        }
        prop_assert_eq!(answer(&one, step).await, answer(&several, step).await, "{:?}", step);
    }
    prop_assert_eq!(view(&one, now).await, view(&several, now).await);
    prop_assert!(one.greatest_id() == 0 && several.greatest_id() == 0, "both were empty");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn several_cells_give_the_same_answers_as_one(steps in steps(), now in (0i64..60).prop_map(minutes)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(steps, now))?;
    }
}

#[test]
fn the_agents_and_receipt_subscriptions_of_this_test_are_in_all_cells() {
    let plan = CellPlan::new(CELLS);
    let cells = |ids: &mut dyn Iterator<Item = i64>| ids.map(|id| plan.cell_of(id)).collect::<HashSet<_>>();
    assert_eq!(cells(&mut (1..=6)).len(), CELLS);
    assert!(cells(&mut (0..4).map(|n| receipts_of(n).raw())).len() > 1);
}
