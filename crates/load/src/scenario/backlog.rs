//! A service that is killed while many messages wait: how soon it serves again, and how soon an agent has its first one.

use std::time::Duration;

use super::figures;
use crate::clock;
use crate::error::{Blame, LoadError, Result};
use crate::job::Order;
use crate::measure::Process;
use crate::run::Run;

/// The rate is measured in so many equal parts of the backlog: whether it falls as the backlog grows.
const PARTS: u64 = 4;

const RATES: [(&str, &str); PARTS as usize] = [
    ("accepted_per_s_quarter_1", "messages accepted per second, the first quarter"),
    ("accepted_per_s_quarter_2", "the second quarter"),
    ("accepted_per_s_quarter_3", "the third quarter"),
    ("accepted_per_s_quarter_4", "the last quarter"),
];

pub(super) async fn run(run: &mut Run<'_>) -> Result<()> {
    if run.own.is_none() {
        return Err(LoadError::Usage(
            "a service that the load did not start is not killed: leave the URL out".to_owned(),
        ));
    }
    run.connect("connecting").await?;
    run.warm_up().await?;
    run.order("leaving", Order::Leave).await?;

    let mut plan = run.options.plan();
    plan.messages = plan.messages.map(|messages| messages.div_ceil(PARTS));
    let (mut accepted, mut last) = (0, None);
    for (key, words) in RATES {
        let part = run.order("storing", Order::Send(plan.clone())).await?;
        accepted += part.outcome.accepted;
        run.findings.figure(key, words, part.outcome.accepted as f64 / part.seconds());
        last = Some(part);
    }
    if let Some(last) = last {
        run.judge_load("storing", &last);
    }
    run.findings.figure("accepted", "messages that wait", accepted as f64);

    let own = run.own.as_mut().blame_generator("the service is gone")?;
    own.kill().await?;
    let killed = clock::now();
    own.start_again().await?;
    run.findings.figure("start_ms", "ms from the start of its process until it listens", ms_since(killed));
    run.process = Some(Process::of(own.pid()?));

    let first = run.order("the first comes back", Order::First).await?;
    let words = "ms from an agent's connecting until it has its first message";
    run.findings.figure("first_ms", words, first.outcome.wall as f64 / 1e6);
    if let Some(memory) = run.settled_memory().await? {
        run.findings.figure("user_bytes", "bytes of the service's own memory then (RssAnon)", memory as f64);
    }

    let coming = run.connect("coming back").await?;
    let draining = run.order("draining", Order::Settle).await?;
    let parts = [&first, &coming, &draining];
    let arrived: u64 = parts.iter().map(|part| part.outcome.arrivals.count()).sum();
    run.findings.figure("arrived", "messages arrived when the agents had come back", arrived as f64);
    let took = coming.seconds() + draining.seconds();
    run.findings.figure("drained_per_s", "of them per second, connecting included", figures::per(arrived as f64, took));
    Ok(())
}

fn ms_since(then: u64) -> f64 {
    Duration::from_nanos(clock::now() - then).as_secs_f64() * 1e3
}
