//! Messages to agents that are connected, as fast as they are answered: how many, and what each costs.

use anyhow::Result;

use super::figures;
use crate::load::bench::Bench;

pub(super) async fn run(bench: &mut Bench<'_>) -> Result<()> {
    bench.connect("connecting").await?;
    bench.warm_up().await?;
    let (sending, settling) = bench.deliver("sending", bench.options.plan()).await?;
    let parts = [&sending, &settling];
    let accepted = figures::accepted(&mut bench.run, &sending);
    figures::arrivals(&mut bench.run, &parts);
    figures::cost(&mut bench.run, accepted, &parts);
    figures::down(&mut bench.run, &parts);
    bench.judge_load("sending", &sending);
    Ok(())
}
