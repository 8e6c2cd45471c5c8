//! How long a message takes from POST to agent at a fixed rate, beside what the disk and the network take at least.

use anyhow::Result;

use super::figures;
use crate::load::bench::Bench;
use crate::load::floor::Floor;
use crate::load::job::{Mix, Plan};

/// Messages a second, unless another rate is asked for.
const RATE: f64 = 50.0;

pub(super) async fn run(bench: &mut Bench<'_>) -> Result<()> {
    bench.connect("connecting").await?;
    bench.warm_up().await?;
    let state = bench.state().map(std::path::Path::to_path_buf);
    let options = bench.options;
    let (rate, seconds) = (options.rate.unwrap_or(RATE), options.seconds());
    let mut floor = Floor::default();
    floor.measure(state.as_deref(), rate, seconds).await?;
    let plan = Plan { messages: options.messages, seconds: Some(seconds), rate: Some(rate), mix: Mix::Plain };
    let (sending, settling) = bench.deliver("sending", plan).await?;
    // What the machine does meanwhile changes: half of it is measured afterwards.
    floor.measure(state.as_deref(), rate, seconds).await?;

    let parts = [&sending, &settling];
    let accepted = figures::accepted(&mut bench.run, &sending);
    figures::arrivals(&mut bench.run, &parts);
    figures::cost(&mut bench.run, accepted, &parts);
    beside(bench, &floor);
    bench.judge_load("sending", &sending);
    Ok(())
}

/// The arrival's time as a multiple of the least that it could be.
fn beside(bench: &mut Bench<'_>, floor: &Floor) {
    let run = &mut bench.run;
    let ms = |percent: f64| (floor.disk.percentile_ms(percent), floor.loopback.percentile_ms(percent));
    let (median, most) = (ms(50.0), ms(99.0));
    run.figure("loopback_p50_ms", "ms for 1 KiB over loopback and back, median", median.1);
    run.figure("loopback_p99_ms", "ms for 1 KiB over loopback and back, 99th percentile", most.1);
    if floor.disk.count() == 0 {
        run.remarks.push("name the directory of the service's state with --state to compare with its disk".to_owned());
        return;
    }
    run.figure("fdatasync_p50_ms", "ms to write 4 KiB to the state's disk and sync, median", median.0);
    run.figure("fdatasync_p99_ms", "ms to write 4 KiB to the state's disk and sync, 99th percentile", most.0);
    for (key, words, arrival, (disk, loopback)) in [
        ("p50_over_floor", "times as long as one sync and one round trip: medians", "arrival_p50_ms", median),
        ("p99_over_floor", "times as long as one sync and one round trip: 99th percentiles", "arrival_p99_ms", most),
    ] {
        let ratio = figures::per(run.value(arrival).unwrap_or(0.0), disk + loopback);
        run.figure(key, words, ratio);
    }
}
