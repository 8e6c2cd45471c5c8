//! Agents that are connected and receive nothing: what one of them costs in memory, and what it cost to let it in.

use std::time::Duration;

use anyhow::Result;

use crate::load::bench::Bench;
use crate::load::job::Order;
use crate::load::measure;

/// A tenth of the agents, this many at most, come before anything is measured: what the service allocates once is there
/// then, and what is added belongs to the agents that follow.
const WARM_UP_MAX: usize = 100;

/// So many that what is no agent's, the store's cache for one, does not show any more.
const AGENTS_MIN: usize = 5000;

#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) async fn run(bench: &mut Bench<'_>) -> Result<()> {
    let all = bench.options.agents;
    let first = (all / 10).min(WARM_UP_MAX);
    bench.order("warming up", Order::Connect(first)).await?;
    let (memory, kernel) = (bench.settled_memory().await?, measure::kernel_memory()?);

    let connecting = bench.order("connecting", Order::Connect(all)).await?;
    let (settled, settled_kernel) = (bench.settled_memory().await?, measure::kernel_memory()?);
    let agents = connecting.outcome.connected as f64;

    let run = &mut bench.run;
    run.figure("agents", "agents connected while it was measured", agents);
    if let (Some(memory), Some(settled)) = (memory, settled) {
        let more = settled as f64 - memory as f64;
        run.figure("user_bytes_per_agent", "octets of the service's own memory per agent (RssAnon)", more / agents);
    }
    let more = settled_kernel as f64 - kernel as f64;
    let words = "octets of kernel memory per agent, both ends of its connection if both are on this machine";
    run.figure("kernel_bytes_per_agent", words, more / agents);
    run.figure("connects_per_s", "agents that connected and subscribed per second", agents / connecting.seconds());
    if let Some(used) = connecting.service {
        let words = "ms of the service's CPU for an agent that connects and subscribes";
        run.figure("connect_cpu_ms", words, used.cpu * 1000.0 / agents);
    }
    if all < AGENTS_MIN {
        let words =
            format!("with fewer than {AGENTS_MIN} agents, what the service allocates once weighs on each of them");
        run.remarks.push(words);
    }
    bench.judge_load("connecting", &connecting);

    let (Some(process), Some(before)) = (bench.process, bench.used()?) else { return Ok(()) };
    let held = bench.options.seconds();
    eprintln!("load: holding {all} agents for {held} s");
    tokio::time::sleep(Duration::from_secs(held)).await;
    let cpu = process.used()?.since(before).cpu;
    let words = "% of a core that the service used while they were idle";
    bench.run.figure("idle_cpu_percent", words, cpu * 100.0 / held.max(1) as f64);
    Ok(())
}
