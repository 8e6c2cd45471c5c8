//! A service that is killed while many messages wait: how soon it serves again, and how soon an agent has its first one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::figures;
use crate::load::bench::Bench;
use crate::load::clock;
use crate::load::job::Order;
use crate::load::measure::Process;

/// The rate is told for parts of the backlog of which each is so much of it: whether it falls as the backlog grows.
const PARTS: u64 = 4;

const RATES: [(&str, &str); PARTS as usize] = [
    ("accepted_per_s_quarter_1", "messages accepted per second, the first quarter"),
    ("accepted_per_s_quarter_2", "the second quarter"),
    ("accepted_per_s_quarter_3", "the third quarter"),
    ("accepted_per_s_quarter_4", "the last quarter"),
];

#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) async fn run(bench: &mut Bench<'_>) -> Result<()> {
    ensure!(bench.own.is_some(), "a service that is not its own is not killed: leave the URL out");
    bench.connect("connecting").await?;
    bench.warm_up().await?;
    bench.order("leaving", Order::Leave).await?;

    let mut plan = bench.options.plan();
    plan.messages = plan.messages.map(|messages| messages.div_ceil(PARTS));
    let (mut accepted, mut last) = (0, None);
    for (key, words) in RATES {
        let part = bench.order("storing", Order::Send(plan.clone())).await?;
        accepted += part.outcome.accepted;
        bench.run.figure(key, words, part.outcome.accepted as f64 / part.seconds());
        last = Some(part);
    }
    if let Some(last) = last {
        bench.judge_load("storing", &last);
    }
    bench.run.figure("accepted", "messages that wait", accepted as f64);

    let own = bench.own.as_mut().context("the service is gone")?;
    own.kill().await?;
    let killed = clock::now();
    own.start_again().await?;
    bench.run.figure("start_ms", "ms from the start of its process until it listens", ms_since(killed));
    bench.process = Some(Process::of(own.pid()?));

    let first = bench.order("the first comes back", Order::First).await?;
    let words = "ms from an agent's connecting until it has its first message";
    bench.run.figure("first_ms", words, first.outcome.wall as f64 / 1e6);
    if let Some(memory) = bench.settled_memory().await? {
        bench.run.figure("user_bytes", "octets of the service's own memory then (RssAnon)", memory as f64);
    }

    let coming = bench.connect("coming back").await?;
    let draining = bench.order("draining", Order::Settle).await?;
    let parts = [&first, &coming, &draining];
    let arrived: u64 = parts.iter().map(|part| part.outcome.arrivals.count()).sum();
    bench.run.figure("arrived", "messages arrived when the agents had come back", arrived as f64);
    let took = coming.seconds() + draining.seconds();
    bench.run.figure("drained_per_s", "of them per second, connecting included", figures::per(arrived as f64, took));
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
fn ms_since(then: u64) -> f64 {
    Duration::from_nanos(clock::now() - then).as_secs_f64() * 1e3
}
