//! All agents come back at the same time: after their network was gone, and after a restart of the service.

use super::figures;
use super::figures::per;
use crate::error::Result;
use crate::job::Order;
use crate::report::Findings;
use crate::run::{Measured, Run};

pub(super) async fn run(run: &mut Run<'_>) -> Result<()> {
    run.connect("connecting").await?;
    run.order("leaving", Order::Leave).await?;
    let back = run.connect("coming back").await?;
    storm(&mut run.findings, &CUT, &back);
    run.judge_load("coming back", &back);

    if run.restart().await? {
        let back = run.connect("coming back after the restart").await?;
        storm(&mut run.findings, &RESTART, &back);
    }
    // They are connected again only if they receive.
    run.warm_up().await
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
    slowest: ("cut_connect_p99_ms", "ms until one was connected, 99th percentile"),
};

const RESTART: Names = Names {
    connects: ("restart_connects_per_s", "agents per second that came back after a restart of the service"),
    per_cpu: ("restart_connects_per_cpu_s", "of them per second and core of the service's CPU"),
    resumed: ("restart_resumed_percent", "% of their TLS sessions were resumed"),
    slowest: ("restart_connect_p99_ms", "ms until one was connected, 99th percentile"),
};

fn storm(findings: &mut Findings, names: &Names, back: &Measured) {
    let outcome = &back.outcome;
    let agents = outcome.connected as f64;
    findings.figure(names.connects.0, names.connects.1, per(agents, back.seconds()));
    if let Some(cpu) = figures::service_cpu(&[back]) {
        findings.figure(names.per_cpu.0, names.per_cpu.1, per(agents, cpu));
    }
    let handshakes = (outcome.full_handshakes + outcome.resumed_handshakes) as f64;
    findings.figure(names.resumed.0, names.resumed.1, per(outcome.resumed_handshakes as f64 * 100.0, handshakes));
    findings.figure(names.slowest.0, names.slowest.1, outcome.connects.percentile_ms(99.0));
}
