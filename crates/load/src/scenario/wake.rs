//! Machines whose browsers do not run: what the wake streams of one cost in memory, and each further profile.

use super::idle::{WARM_UP_MAX, growth, hold};
use crate::door::wake::PROFILES;
use crate::error::Result;
use crate::job::Order;
use crate::run::Run;

/// So many that memory which does not belong to a machine no longer shows.
const MACHINES_MIN: usize = 1000;

pub(super) async fn run(run: &mut Run<'_>) -> Result<()> {
    let all = run.options.agents;
    if run.own.is_some() {
        // The browsers have subscribed long before: what the service has kept of that belongs to no stream.
        run.order("subscribing", Order::Connect(all)).await?;
        run.order("leaving", Order::Leave).await?;
    }
    run.restart().await?;
    run.order("warming up", Order::Connect((all / 10).min(WARM_UP_MAX))).await?;
    let (connecting, machine) = growth(run, "connecting", Order::Connect(all)).await?;
    let machines = connecting.outcome.connected as f64;
    let (_, profiles) = growth(run, "opening streams", Order::Profiles(PROFILES)).await?;
    let further = (all * (PROFILES - 1)) as f64;

    let findings = &mut run.findings;
    findings.figure("machines", "machines with one wake stream connected while it was measured", machines);
    findings.figure("streams", "wake streams in the end", (all * PROFILES) as f64);
    if let (Some(machine), Some(profiles)) = (machine.user, profiles.user) {
        let words = "bytes of the service's own memory per machine with one profile (RssAnon)";
        findings.figure("user_bytes_per_machine", words, machine / machines);
        let words = "bytes of the service's own memory per further profile of a machine";
        findings.figure("user_bytes_per_profile", words, profiles / further);
    }
    let words = "bytes of kernel memory per machine, both ends of its connection if both are on this machine";
    findings.figure("kernel_bytes_per_machine", words, machine.kernel / machines);
    findings.figure("kernel_bytes_per_profile", "the same per further profile", profiles.kernel / further);
    if all < MACHINES_MIN {
        let words = format!("with fewer than {MACHINES_MIN} machines, what the service allocates once weighs on each");
        findings.remarks.push(words);
    }
    run.judge_load("connecting", &connecting);
    hold(run, &format!("{} streams", all * PROFILES)).await
}
