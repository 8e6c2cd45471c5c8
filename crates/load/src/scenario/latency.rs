//! How long a message takes from POST to agent at a fixed rate, compared with what the disk and the network take at least.

use std::path::Path;

use super::figures;
use crate::error::Result;
use crate::floor::Floor;
use crate::job::{Mix, Plan};
use crate::run::Run;

/// Messages a second, unless another rate is asked for.
const RATE: f64 = 50.0;

pub(super) async fn run(run: &mut Run<'_>) -> Result<()> {
    run.connect("connecting").await?;
    run.warm_up().await?;
    let state = run.state().map(Path::to_path_buf);
    let options = run.options;
    let (rate, seconds) = (options.rate.unwrap_or(RATE), options.seconds());
    let mut floor = Floor::default();
    floor.measure(state.as_deref(), rate, seconds).await?;
    let plan = Plan { messages: options.messages, seconds: Some(seconds), rate: Some(rate), mix: Mix::Plain };
    let (sending, settling) = run.deliver("sending", plan).await?;
    // The machine changes meanwhile: half of the floor is measured afterwards.
    floor.measure(state.as_deref(), rate, seconds).await?;

    let parts = [&sending, &settling];
    let accepted = figures::accepted(&mut run.findings, &sending);
    figures::arrivals(&mut run.findings, &parts);
    figures::cost(&mut run.findings, accepted, &parts);
    compare(run, &floor);
    run.judge_load("sending", &sending);
    Ok(())
}

/// The arrival's time as a multiple of the least that it could be.
fn compare(run: &mut Run<'_>, floor: &Floor) {
    let findings = &mut run.findings;
    let ms = |percent: f64| (floor.disk.percentile_ms(percent), floor.loopback.percentile_ms(percent));
    let (median, most) = (ms(50.0), ms(99.0));
    findings.figure("loopback_p50_ms", "ms for 1 KiB over loopback and back, median", median.1);
    findings.figure("loopback_p99_ms", "ms for 1 KiB over loopback and back, 99th percentile", most.1);
    if floor.disk.count() == 0 {
        findings
            .remarks
            .push("name the directory of the service's state with --state to compare with its disk".to_owned());
        return;
    }
    findings.figure("fdatasync_p50_ms", "ms to write 4 KiB to the state's disk and sync, median", median.0);
    findings.figure("fdatasync_p99_ms", "ms to write 4 KiB to the state's disk and sync, 99th percentile", most.0);
    for (key, words, arrival, (disk, loopback)) in [
        ("p50_over_floor", "times as long as one sync and one round trip: medians", "arrival_p50_ms", median),
        ("p99_over_floor", "times as long as one sync and one round trip: 99th percentiles", "arrival_p99_ms", most),
    ] {
        let ratio = figures::per(findings.value(arrival), disk + loopback);
        findings.figure(key, words, ratio);
    }
}
