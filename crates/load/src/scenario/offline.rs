//! Messages for agents that are not connected, and fetch them later.

use super::figures;
use crate::error::Result;
use crate::job::Order;
use crate::run::Run;

pub(super) async fn run(run: &mut Run<'_>) -> Result<()> {
    run.connect("connecting").await?;
    run.warm_up().await?;
    run.order("leaving", Order::Leave).await?;

    let storing = run.order("storing", Order::Send(run.options.plan())).await?;
    let coming = run.connect("coming back").await?;
    let draining = run.order("draining", Order::Settle).await?;

    let findings = &mut run.findings;
    let accepted = figures::accepted(findings, &storing);
    let arrived = (coming.outcome.arrivals.count() + draining.outcome.arrivals.count()) as f64;
    findings.figure("arrived", "messages arrived when the agents had come back", arrived);
    let took = coming.seconds() + draining.seconds();
    findings.figure(
        "drained_per_s",
        "messages per second that arrived then, connecting included",
        figures::per(arrived, took),
    );
    figures::cost(findings, accepted, &[&storing, &coming, &draining]);
    if let (Some(store), Some(drain)) = (figures::service_cpu(&[&storing]), figures::service_cpu(&[&coming, &draining]))
    {
        findings.figure(
            "store_cpu_s_per_1000",
            "of it, CPU-s to accept and store",
            figures::per(store * 1000.0, accepted),
        );
        findings.figure(
            "drain_cpu_s_per_1000",
            "of it, CPU-s to accept the agents and deliver",
            figures::per(drain * 1000.0, accepted),
        );
    }
    run.judge_load("storing", &storing);
    Ok(())
}
