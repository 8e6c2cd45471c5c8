//! Figures that several scenarios have.

use crate::latencies::Latencies;
use crate::report::Findings;
use crate::run::Measured;

/// How many messages were accepted, how many a second, and how long that took: the number.
pub(super) fn accepted(findings: &mut Findings, sending: &Measured) -> f64 {
    let accepted = sending.outcome.accepted as f64;
    let answers = &sending.outcome.answers;
    findings.figure("accepted", "messages accepted, each durable before its answer", accepted);
    findings.figure("accepted_per_s", "messages accepted per second", per(accepted, sending.seconds()));
    findings.figure("answer_p50_ms", "ms from POST to answer, median", answers.percentile_ms(50.0));
    findings.figure("answer_p99_ms", "ms from POST to answer, 99th percentile", answers.percentile_ms(99.0));
    accepted
}

/// How long messages took from POST to agent.
pub(super) fn arrivals(findings: &mut Findings, parts: &[&Measured]) {
    let mut all = Latencies::default();
    parts.iter().for_each(|part| all.add(&part.outcome.arrivals));
    findings.figure("arrived", "messages arrived", all.count() as f64);
    findings.figure("arrival_p50_ms", "ms from POST to agent, median", all.percentile_ms(50.0));
    findings.figure("arrival_p90_ms", "ms from POST to agent, 90th percentile", all.percentile_ms(90.0));
    findings.figure("arrival_p99_ms", "ms from POST to agent, 99th percentile", all.percentile_ms(99.0));
    findings.figure("arrival_max_ms", "ms from POST to agent, longest", all.max_ms());
}

/// What messages cost the service, and the load.
pub(super) fn cost(findings: &mut Findings, accepted: f64, parts: &[&Measured]) {
    if let Some(cpu) = service_cpu(parts) {
        let words = "CPU-s of the service per 1,000 messages, from POST to acknowledgement";
        findings.figure("cpu_s_per_1000", words, per(cpu * 1000.0, accepted));
    }
    if let Some(cpu) = parts.iter().map(|part| part.database_cpu).sum::<Option<f64>>() {
        let words = "CPU-s of the database's servers per 1,000 messages";
        findings.figure("database_cpu_s_per_1000", words, per(cpu * 1000.0, accepted));
    }
    let load: f64 = parts.iter().map(|part| part.load_cpu).sum();
    findings.figure("load_cpu_s_per_1000", "CPU-s of the load per 1,000 messages", per(load * 1000.0, accepted));
    let written: Option<u64> = parts.iter().map(|part| part.service?.written).sum();
    if let Some(written) = written {
        let words = "bytes that the service wrote to its disk per message";
        findings.figure("disk_bytes_per_message", words, per(written as f64, accepted));
    }
}

/// The bytes that an agent receives for each message.
pub(super) fn down(findings: &mut Findings, parts: &[&Measured]) {
    let down: u64 = parts.iter().map(|part| part.outcome.down).sum();
    let arrived: u64 = parts.iter().map(|part| part.outcome.arrivals.count()).sum();
    let words = "bytes down to the agent per message, as TCP carries them";
    findings.figure("down_bytes_per_message", words, per(down as f64, arrived as f64));
}

/// CPU-seconds of the service, if its process is known.
pub(super) fn service_cpu(parts: &[&Measured]) -> Option<f64> {
    parts.iter().map(|part| Some(part.service?.cpu)).sum()
}

/// `all` for each of `number`; 0 if there are none.
pub(super) fn per(all: f64, number: f64) -> f64 {
    if number > 0.0 { all / number } else { 0.0 }
}
