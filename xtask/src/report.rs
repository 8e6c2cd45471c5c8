//! What a recipe did: a line per step while it runs, a table at the end, then the output of what failed.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;

use crate::clock::Stopwatch;
use crate::counts::Counts;
use crate::step::{self, Show};

/// How many lines of a failed step's log are repeated at the end.
const REPEATED_LINES_MAX: usize = 200;

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// It could not be done here, which is not an error of the project; the note has the reason.
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
        })
    }
}

struct Entry {
    name: String,
    outcome: Outcome,
    took: Duration,
    note: String,
    log: Option<PathBuf>,
}

/// The steps of a recipe so far.
pub(crate) struct Report {
    started: Stopwatch,
    entries: Vec<Entry>,
    counts: Option<Counts>,
}

impl Report {
    /// A recipe without steps.
    pub(crate) fn new() -> Self {
        Self { started: Stopwatch::start(), entries: Vec::new(), counts: None }
    }

    /// Runs a command as a step; whether it succeeded. Later steps still run, so that one run shows everything.
    pub(crate) fn step(&mut self, name: &str, command: Command, show: Show) -> Result<bool> {
        announce(name, &step::words(&command));
        let ran = step::run(name, command, show, |_| {})?;
        let outcome = if ran.succeeded { Outcome::Passed } else { Outcome::Failed };
        self.add(name, outcome, ran.took, String::new(), Some(ran.log));
        Ok(ran.succeeded)
    }

    /// Like [`Report::step`] for a command that closes with cargo's test counts.
    pub(crate) fn tests(&mut self, name: &str, command: Command) -> Result<bool> {
        announce(name, &step::words(&command));
        let mut counts = Counts::default();
        let ran = step::run(name, command, Show::Everything, |line| counts.read(line))?;
        // A run that executed nothing proves nothing.
        let outcome = if ran.succeeded && counts.passed > 0 { Outcome::Passed } else { Outcome::Failed };
        self.add(name, outcome, ran.took, counts.closing_line(), Some(ran.log));
        let total = self.counts.get_or_insert_default();
        total.passed += counts.passed;
        total.failed += counts.failed;
        total.ignored += counts.ignored;
        Ok(outcome == Outcome::Passed)
    }

    /// Notes a step that was carried out elsewhere.
    pub(crate) fn add(&mut self, name: &str, outcome: Outcome, took: Duration, note: String, log: Option<PathBuf>) {
        println!(
            "   {outcome} {name} in {}{}",
            seconds(took),
            if note.is_empty() { String::new() } else { format!(" ({note})") }
        );
        self.entries.push(Entry { name: name.to_owned(), outcome, took, note, log });
    }

    /// Prints the table, the output of failed steps and, after tests, the plain closing line.
    pub(crate) fn finish(self) -> ExitCode {
        println!("\n{:=<72}", "");
        for entry in &self.entries {
            println!("{:<8} {:>8}  {:<24} {}", entry.outcome, seconds(entry.took), entry.name, entry.note);
        }
        println!("{:<8} {:>8}", "in all", seconds(self.started.elapsed()));
        println!("{:=<72}", "");
        let failed: Vec<&Entry> = self.entries.iter().filter(|entry| entry.outcome == Outcome::Failed).collect();
        failed.iter().for_each(|entry| repeat(entry));
        if let Some(counts) = self.counts {
            println!("{}", counts.closing_line());
        }
        if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Prints that a step begins.
pub(crate) fn announce(name: &str, what: &str) {
    println!("── {name}: {what}");
}

fn repeat(entry: &Entry) {
    println!("\nFAILED: {} {}", entry.name, entry.note);
    let Some(log) = &entry.log else { return };
    let text = match std::fs::read(log) {
        Ok(text) => text,
        Err(error) => return println!("(its log {} cannot be read: {error})\n", log.display()),
    };
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(REPEATED_LINES_MAX);
    if skipped > 0 {
        println!("({skipped} earlier lines are in {})", log.display());
    }
    lines.iter().skip(skipped).for_each(|line| println!("{line}"));
    println!();
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}
