//! A day, shortened: agents come and go, messages of all urgencies, TTLs and topics are sent, and everything is counted.

use super::figures;
use crate::error::Result;
use crate::job::{Mix, Order, Outcome, Plan};
use crate::run::Run;

/// Messages a second, unless another rate is asked for.
const RATE: f64 = 200.0;

pub(super) async fn run(run: &mut Run<'_>) -> Result<()> {
    run.connect("connecting").await?;
    let options = run.options;
    let rate = Some(options.rate.unwrap_or(RATE));
    let plan = Plan { messages: options.messages, seconds: Some(options.seconds()), rate, mix: Mix::Day };
    let sending = run.order("the day", Order::Day(plan)).await?;
    let coming = run.connect("coming back").await?;
    let settling = run.order("the end of the day", Order::Settle).await?;

    let parts = [&sending, &coming, &settling];
    let findings = &mut run.findings;
    let accepted = figures::accepted(findings, &sending);
    let sum = |count: fn(&Outcome) -> u64| parts.iter().map(|part| count(&part.outcome)).sum::<u64>();
    let verdict = settling.outcome.verdict;
    for (key, words, count) in [
        ("arrived", "messages arrived", sum(|outcome| outcome.arrivals.count())),
        ("expired", "messages expired while their agent was away", verdict.expired),
        ("expired_there", "messages expired although their agent was connected", verdict.expired_there),
        ("replaced", "messages were replaced by a later one of their topic", verdict.replaced),
        ("lost", "accepted messages did not arrive", verdict.missing),
        ("late", "messages arrived after their TTL", verdict.late),
        (
            "again",
            "messages came again on a later connection, as at-least-once may have it",
            sum(|outcome| outcome.again),
        ),
        ("twice", "messages came twice on one connection", sum(|outcome| outcome.twice)),
        ("connects", "times that an agent came back", sum(|outcome| outcome.connected)),
    ] {
        findings.figure(key, words, count as f64);
    }
    figures::cost(findings, accepted, &parts);
    run.judge_load("the day", &sending);
    Ok(())
}
