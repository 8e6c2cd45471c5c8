//! Agents that are connected and receive nothing: what one of them costs in memory, and what its connecting costs.

use std::time::Duration;

use crate::error::Result;
use crate::job::Order;
use crate::measure;
use crate::run::{Measured, Run};
use crate::scenario::figures::per;

/// A tenth of the agents, this many at most, connect before anything is measured: the service has allocated what it
/// allocates once, and what is added belongs to the agents that follow.
pub(super) const WARM_UP_MAX: usize = 100;

/// So many that memory which does not belong to an agent, such as the store's cache, no longer shows.
const AGENTS_MIN: usize = 5000;

pub(super) async fn run(run: &mut Run<'_>) -> Result<()> {
    let all = run.options.agents;
    let first = (all / 10).min(WARM_UP_MAX);
    run.order("warming up", Order::Connect(first)).await?;
    let (connecting, growth) = growth(run, "connecting", Order::Connect(all)).await?;
    let agents = connecting.outcome.connected as f64;

    let findings = &mut run.findings;
    findings.figure("agents", "agents connected while it was measured", agents);
    if let Some(more) = growth.user {
        findings.figure(
            "user_bytes_per_agent",
            "bytes of the service's own memory per agent (RssAnon)",
            per(more, agents),
        );
    }
    let words = "bytes of kernel memory per agent, both ends of its connection if both are on this machine";
    findings.figure("kernel_bytes_per_agent", words, per(growth.kernel, agents));
    findings.figure(
        "connects_per_s",
        "agents that connected and subscribed per second",
        per(agents, connecting.seconds()),
    );
    if let Some(used) = connecting.service {
        let words = "ms of the service's CPU for an agent that connects and subscribes";
        findings.figure("connect_cpu_ms", words, per(used.cpu * 1000.0, agents));
    }
    if all < AGENTS_MIN {
        let words =
            format!("with fewer than {AGENTS_MIN} agents, what the service allocates once weighs on each of them");
        findings.remarks.push(words);
    }
    run.judge_load("connecting", &connecting);

    hold(run, &format!("{all} agents")).await
}

/// What an order adds to memory, in bytes.
pub(super) struct Growth {
    /// To the service's own, if its process is known.
    pub(super) user: Option<f64>,
    pub(super) kernel: f64,
}

/// Runs an order, and measures what it adds once memory has settled.
pub(super) async fn growth(run: &mut Run<'_>, what: &str, order: Order) -> Result<(Measured, Growth)> {
    let (memory, kernel) = (run.settled_memory().await?, measure::kernel_memory()?);
    let measured = run.order(what, order).await?;
    let (settled, settled_kernel) = (run.settled_memory().await?, measure::kernel_memory()?);
    let user = settled.zip(memory).map(|(settled, memory)| settled as f64 - memory as f64);
    Ok((measured, Growth { user, kernel: settled_kernel as f64 - kernel as f64 }))
}

/// What the service uses while nothing happens.
pub(super) async fn hold(run: &mut Run<'_>, whom: &str) -> Result<()> {
    let (Some(process), Some(before)) = (run.process, run.used()?) else { return Ok(()) };
    let held = run.options.seconds();
    eprintln!("load: holding {whom} for {held} s");
    tokio::time::sleep(Duration::from_secs(held)).await;
    let cpu = process.used()?.since(before).cpu;
    let words = "% of a core that the service used while they were idle";
    run.findings.figure("idle_cpu_percent", words, cpu * 100.0 / held.max(1) as f64);
    Ok(())
}
