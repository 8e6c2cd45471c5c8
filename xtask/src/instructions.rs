//! Counts the instructions of a message's way, and compares them with what was recorded.
//!
//! Times on a shared machine show little; instructions repeat. Each step of the program `hot_path` runs twice under
//! valgrind, for few and for many times, so that the difference has nothing of the start and the end in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::clock::Stopwatch;
use crate::report::{Outcome, Report, announce};
use crate::shell::{self, which};
use crate::step::{self, Show};
use crate::tree;

/// How far a step may be from what was recorded, in percent. A compiler's release moves them by a few.
const TOLERANCE: f64 = 10.0;

/// How often a step runs, for the difference of both.
const FEW: u64 = 100;
const MANY: u64 = 300;

/// What is built at full speed.
const PROFILE: &str = "crates/service/examples/hot_path/profile.toml";

const RECORDED: &str = "crates/service/examples/hot_path/instructions.toml";

const HEAD: &str = "\
# Instructions that each step takes, in user space. `cargo xtask instructions` compares;
# `cargo xtask instructions --record` writes this file.
";

/// Instructions by step.
type Counts = BTreeMap<String, u64>;

/// Compares, as a step of a recipe.
pub(crate) fn check(report: &mut Report) -> Result<()> {
    let stopwatch = Stopwatch::start();
    let Some(counted) = count(report)? else { return Ok(()) };
    let verdict = Verdict::of(&counted, &recorded()?);
    print!("{}", verdict.table);
    let outcome = if verdict.faults.is_empty() { Outcome::Passed } else { Outcome::Failed };
    let notes = [verdict.faults, verdict.warnings].concat();
    report.add("instructions", outcome, stopwatch.elapsed(), notes.join("; "), None);
    Ok(())
}

/// Takes what is counted now for what is right.
pub(crate) fn record(report: &mut Report) -> Result<()> {
    let Some(counted) = count(report)? else { return Ok(()) };
    let lines: String = counted.iter().map(|(step, count)| format!("{step} = {count}\n")).collect();
    print!("{lines}");
    fs::write(tree::root().join(RECORDED), format!("{HEAD}{lines}")).context(RECORDED)
}

/// Counts every step; `None` if that cannot be done here, which the report knows.
fn count(report: &mut Report) -> Result<Option<Counts>> {
    if which("valgrind").is_none() {
        let outcome = if shell::in_ci() { Outcome::Failed } else { Outcome::Skipped };
        let note = "NOT COUNTED: valgrind is not here; `cargo xtask setup` installs it".to_owned();
        report.add("instructions", outcome, Duration::ZERO, note, None);
        return Ok(None);
    }
    if !report.step("instructions build", build(), Show::Failures)? {
        return Ok(None);
    }
    let steps = Command::new(program()).output().context("the program hot_path does not start")?;
    let steps = String::from_utf8(steps.stdout).context("the steps of hot_path are not text")?;
    announce("instructions", &format!("{} steps under valgrind", steps.lines().count()));
    let each = |step: &str| Ok((step.to_owned(), (collected(step, MANY)? - collected(step, FEW)?) / (MANY - FEW)));
    steps.lines().map(each).collect::<Result<_>>().map(Some)
}

fn build() -> Command {
    let mut command = Command::new("cargo");
    // The whole workspace, because its features are those of the other builds then, and nothing is built twice.
    command.args(["build", "--locked", "--workspace", "--example", "hot_path", "--config", PROFILE]);
    // What an earlier build left is cut into other units.
    command.env("CARGO_INCREMENTAL", "0");
    command
}

fn program() -> PathBuf {
    tree::root().join("target").join("debug").join("examples").join("hot_path")
}

/// All instructions of one run.
fn collected(step: &str, times: u64) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program());
    command.arg(step).arg(times.to_string());
    let mut collected = None;
    let ran = step::run(&format!("instructions {step}"), command, Show::Failures, |line| {
        if let Some((_, count)) = line.split_once("Collected : ") {
            collected = count.trim().parse().ok();
        }
    })?;
    ensure!(ran.succeeded, "{step} failed under valgrind; its output is in {}", ran.log.display());
    collected.with_context(|| format!("valgrind counted nothing of {step}; its output is in {}", ran.log.display()))
}

fn recorded() -> Result<Counts> {
    parse(&fs::read_to_string(tree::root().join(RECORDED)).context(RECORDED)?)
}

/// Lines of `step = count`, and comments.
fn parse(text: &str) -> Result<Counts> {
    let mut counts = Counts::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let pair = line.split_once(" = ").and_then(|(step, count)| Some((step.to_owned(), count.parse().ok()?)));
        let Some((step, count)) = pair else { bail!("{RECORDED}: `{line}` is not `step = count`") };
        counts.insert(step, count);
    }
    Ok(counts)
}

/// The result of the comparison.
#[derive(Default)]
struct Verdict {
    table: String,
    faults: Vec<String>,
    warnings: Vec<String>,
}

impl Verdict {
    fn of(counted: &Counts, recorded: &Counts) -> Self {
        const RECORD: &str = "if that is meant, `cargo xtask instructions --record`";
        let mut verdict = Self { table: row("step", "counted", "recorded", "change"), ..Self::default() };
        for (step, &count) in counted {
            let Some(&before) = recorded.get(step) else {
                verdict.table += &row(step, &count.to_string(), "", "");
                verdict.faults.push(format!("{step} is not recorded: {RECORD}"));
                continue;
            };
            let percent = (count as f64 / before as f64 - 1.0) * 100.0;
            verdict.table += &row(step, &count.to_string(), &before.to_string(), &format!("{percent:+.1} %"));
            if percent > TOLERANCE {
                verdict.faults.push(format!("{step} takes {percent:.1} % more instructions than recorded: {RECORD}"));
            } else if percent < -TOLERANCE {
                verdict.warnings.push(format!("{step} takes {:.1} % fewer: record it, so that it stays so", -percent));
            }
        }
        let gone = recorded.keys().filter(|step| !counted.contains_key(*step));
        verdict.faults.extend(gone.map(|step| format!("{step} is recorded and no step any more: {RECORD}")));
        verdict
    }
}

fn row(step: &str, counted: &str, recorded: &str, change: &str) -> String {
    format!("   {step:<24} {counted:>10} {recorded:>10} {change:>9}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> Counts {
        pairs.iter().map(|&(step, count)| (step.to_owned(), count)).collect()
    }

    fn faults_and_warnings(counted: u64, recorded: u64) -> (usize, usize) {
        let verdict = Verdict::of(&counts(&[("a", counted)]), &counts(&[("a", recorded)]));
        (verdict.faults.len(), verdict.warnings.len())
    }

    #[test]
    fn more_than_the_tolerance_is_a_fault_and_less_is_a_warning() {
        assert_eq!(faults_and_warnings(1099, 1000), (0, 0));
        assert_eq!(faults_and_warnings(1101, 1000), (1, 0));
        assert_eq!(faults_and_warnings(901, 1000), (0, 0));
        assert_eq!(faults_and_warnings(899, 1000), (0, 1));
    }

    #[test]
    fn a_step_that_is_new_or_gone_is_a_fault() {
        assert_eq!(Verdict::of(&counts(&[("a", 1), ("b", 1)]), &counts(&[("a", 1)])).faults.len(), 1);
        assert_eq!(Verdict::of(&counts(&[("a", 1)]), &counts(&[("a", 1), ("b", 1)])).faults.len(), 1);
    }

    #[test]
    fn what_is_recorded_is_read_back_and_anything_else_is_refused() {
        assert_eq!(parse(&format!("{HEAD}a = 7\nb-c = 8\n")).unwrap(), counts(&[("a", 7), ("b-c", 8)]));
        assert!(parse("a = many\n").is_err());
    }
}
