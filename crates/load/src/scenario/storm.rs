//! Everybody comes back at the same time: after their network was gone, and after a restart of the service.

use anyhow::Result;

use super::figures::{self, per};
use crate::load::bench::{Bench, Measured};
use crate::load::job::Order;
use crate::load::measure::Process;
use crate::load::report::Run;

pub(super) async fn run(bench: &mut Bench<'_>) -> Result<()> {
    bench.connect("connecting").await?;
    bench.order("leaving", Order::Leave).await?;
    let back = bench.connect("coming back").await?;
    storm(&mut bench.run, &CUT, &back);
    bench.judge_load("coming back", &back);

    match &mut bench.own {
        Some(own) => {
            own.stop().await?;
            own.start_again().await?;
            bench.process = Some(Process::of(own.pid()?));
            // Who has not noticed yet that the service went away notices it now.
            bench.crew.order("the service starts again", &Order::Leave).await?;
            let back = bench.connect("coming back after the restart").await?;
            storm(&mut bench.run, &RESTART, &back);
        }
        None => bench.run.remarks.push("a service that is not its own is not restarted".to_owned()),
    }
    // They are there again only if they receive.
    bench.warm_up().await
}

/// The figures' names and words.
struct Names {
    connects: (&'static str, &'static str),
    per_cpu: (&'static str, &'static str),
    resumed: (&'static str, &'static str),
    slowest: (&'static str, &'static str),
}

const CUT: Names = Names {
    connects: ("cut_connects_per_s", "agents per second that came back after their network was gone"),
    per_cpu: ("cut_connects_per_cpu_s", "of them per second and core of the service's CPU"),
    resumed: ("cut_resumed_percent", "% of their TLS sessions were resumed"),
    slowest: ("cut_connect_p99_ms", "ms until one was in, 99th percentile"),
};

const RESTART: Names = Names {
    connects: ("restart_connects_per_s", "agents per second that came back after a restart of the service"),
    per_cpu: ("restart_connects_per_cpu_s", "of them per second and core of the service's CPU"),
    resumed: ("restart_resumed_percent", "% of their TLS sessions were resumed"),
    slowest: ("restart_connect_p99_ms", "ms until one was in, 99th percentile"),
};

#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
fn storm(run: &mut Run, names: &Names, back: &Measured) {
    let outcome = &back.outcome;
    let agents = outcome.connected as f64;
    run.figure(names.connects.0, names.connects.1, per(agents, back.seconds()));
    if let Some(cpu) = figures::service_cpu(&[back]) {
        run.figure(names.per_cpu.0, names.per_cpu.1, per(agents, cpu));
    }
    let handshakes = (outcome.full_handshakes + outcome.resumed_handshakes) as f64;
    run.figure(names.resumed.0, names.resumed.1, per(outcome.resumed_handshakes as f64 * 100.0, handshakes));
    run.figure(names.slowest.0, names.slowest.1, outcome.connects.percentile_ms(99.0));
}
