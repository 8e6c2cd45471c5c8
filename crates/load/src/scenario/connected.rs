//! Messages to agents that are connected, as fast as they are answered: how many, and what each costs.

use super::figures;
use crate::error::Result;
use crate::run::Run;

pub(super) async fn run(run: &mut Run<'_>) -> Result<()> {
    run.connect("connecting").await?;
    run.warm_up().await?;
    let (sending, settling) = run.deliver("sending", run.options.plan()).await?;
    let parts = [&sending, &settling];
    let accepted = figures::accepted(&mut run.findings, &sending);
    figures::arrivals(&mut run.findings, &parts);
    figures::cost(&mut run.findings, accepted, &parts);
    figures::down(&mut run.findings, &parts);
    run.judge_load("sending", &sending);
    Ok(())
}
