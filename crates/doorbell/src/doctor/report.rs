//! The doctor's findings, step by step: a line for a user at once, or one JSON document at the end.

use std::fmt::Display;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::browser::status;
use crate::output;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    /// It works, and should be changed.
    Warning,
    Failed,
    /// There was nothing to examine, or the user left it out.
    Skipped,
}

/// One step: its result, what was found, and what to do about it.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) text: String,
    /// For a failure and a warning the fix; otherwise what is worth knowing, if anything is.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn ok(text: impl Display) -> Self {
        Self { verdict: Verdict::Ok, text: text.to_string(), advice: None }
    }

    pub(super) fn warning(text: impl Display, fix: impl Display) -> Self {
        Self { verdict: Verdict::Warning, text: text.to_string(), advice: Some(fix.to_string()) }
    }

    pub(super) fn failed(text: impl Display, fix: impl Display) -> Self {
        Self { verdict: Verdict::Failed, text: text.to_string(), advice: Some(fix.to_string()) }
    }

    pub(super) fn skipped(why: impl Display) -> Self {
        Self { verdict: Verdict::Skipped, text: why.to_string(), advice: None }
    }

    /// The same, with something worth knowing.
    pub(super) fn with_note(self, note: impl Display) -> Self {
        Self { advice: Some(note.to_string()), ..self }
    }
}

/// All findings so far.
pub(super) struct Report {
    url: String,
    json: bool,
    failed: bool,
    steps: Vec<Value>,
}

impl Report {
    pub(super) fn new(url: &str, json: bool) -> Self {
        Self { url: url.to_owned(), json, failed: false, steps: Vec::new() }
    }

    /// Adds the result of `step`: whether the steps that need it can run.
    pub(super) fn add(&mut self, step: &str, finding: Finding) -> bool {
        let Finding { verdict, text, advice } = finding;
        debug_assert!(
            advice.is_some() || matches!(verdict, Verdict::Ok | Verdict::Skipped),
            "a failure and a warning name a fix"
        );
        let (shown, word, label) = match verdict {
            Verdict::Ok => ("ok", "ok", "note"),
            Verdict::Warning => ("warning", "warning", "fix"),
            Verdict::Failed => ("FAILED", "failed", "fix"),
            Verdict::Skipped => ("skipped", "skipped", "note"),
        };
        self.failed |= verdict == Verdict::Failed;
        if self.json {
            self.steps.push(json!({ "step": step, "result": word, "finding": text, "advice": advice }));
        } else {
            output::report(format_args!("{shown:8} {step:10} {text}"));
            if let Some(advice) = advice {
                output::report(format_args!("{:19} {label}: {advice}", ""));
            }
        }
        matches!(verdict, Verdict::Ok | Verdict::Warning)
    }

    /// Adds that these steps were not run.
    pub(super) fn skip(&mut self, steps: &[&str], why: &str) {
        for step in steps {
            self.add(step, Finding::skipped(why));
        }
    }

    /// The same for a step with a value.
    pub(super) fn take<T>(&mut self, step: &str, found: Result<(T, Finding), Finding>) -> Option<T> {
        let (thing, finding) = match found {
            Ok((thing, finding)) => (Some(thing), finding),
            Err(finding) => (None, finding),
        };
        self.add(step, finding);
        thing
    }

    /// Prints what takes so long.
    pub(super) fn note(&self, line: &str) {
        if !self.json {
            status(line);
        }
    }

    /// Prints what is left to print: the exit status.
    pub(super) fn finish(self) -> ExitCode {
        if self.json {
            output::report(json!({ "url": self.url, "ok": !self.failed, "steps": self.steps }));
        }
        if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
