//! Messages for agents that are not there, which come later and fetch them.

use anyhow::Result;

use super::figures;
use crate::load::bench::Bench;
use crate::load::job::Order;

#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) async fn run(bench: &mut Bench<'_>) -> Result<()> {
    bench.connect("connecting").await?;
    bench.warm_up().await?;
    bench.order("leaving", Order::Leave).await?;

    let storing = bench.order("storing", Order::Send(bench.options.plan())).await?;
    let coming = bench.connect("coming back").await?;
    let draining = bench.order("draining", Order::Settle).await?;

    let run = &mut bench.run;
    let accepted = figures::accepted(run, &storing);
    let arrived = (coming.outcome.arrivals.count() + draining.outcome.arrivals.count()) as f64;
    run.figure("arrived", "messages arrived when the agents had come back", arrived);
    let took = coming.seconds() + draining.seconds();
    run.figure(
        "drained_per_s",
        "messages per second that arrived then, connecting included",
        figures::per(arrived, took),
    );
    figures::cost(run, accepted, &[&storing, &coming, &draining]);
    if let (Some(store), Some(drain)) = (figures::service_cpu(&[&storing]), figures::service_cpu(&[&coming, &draining]))
    {
        run.figure("store_cpu_s_per_1000", "of it, CPU-s to accept and store", figures::per(store * 1000.0, accepted));
        run.figure(
            "drain_cpu_s_per_1000",
            "of it, CPU-s to let agents in and deliver",
            figures::per(drain * 1000.0, accepted),
        );
    }
    bench.judge_load("storing", &storing);
    Ok(())
}
