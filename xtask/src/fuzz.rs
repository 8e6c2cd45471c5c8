//! Builds the fuzz targets with the stable compiler and runs each for a while, two at a time.
//!
//! `cargo fuzz` asks for a nightly compiler only because of its sanitizers. The coverage that guides libFuzzer is an
//! LLVM pass that stable has too, and this project forbids `unsafe`, so that panics and broken assertions are what
//! there is to find. The layout is cargo-fuzz's: `cargo +nightly fuzz run TARGET` works as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::report::{Outcome, Report, announce};
use crate::step::{self, Ran, Show};
use crate::tree;

/// How long each target runs in CI, which has an hour for everything.
pub(crate) const SECONDS_DEFAULT: u32 = 12;

const AT_ONCE: usize = 2;

/// Inline counters and traced comparisons: what libFuzzer needs to see which input reached new code.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Builds every target, then runs each for `seconds`.
pub(crate) fn run(report: &mut Report, seconds: u32) -> Result<()> {
    let targets = targets()?;
    let triple = host_triple()?;
    if !report.step("fuzz build", build(&triple), Show::Failures)? {
        return Ok(());
    }
    announce("fuzz", &format!("{} targets, {seconds} s each, {AT_ONCE} at a time", targets.len()));
    let waiting = Mutex::new(targets.into_iter());
    // Only a panic elsewhere could leave a lock poisoned, and it ends the recipe.
    let next = || waiting.lock().expect("no thread has panicked").next();
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(target) = next() {
                    let outcome = fuzz(&triple, &target, seconds);
                    done.lock().expect("no thread has panicked").push((target, outcome));
                }
            });
        }
    });
    for (target, outcome) in done.into_inner().expect("no thread has panicked") {
        let (ran, units) = outcome?;
        let outcome = if ran.succeeded { Outcome::Passed } else { Outcome::Failed };
        report.add(&format!("fuzz {target}"), outcome, ran.took, format!("{units} inputs"), Some(ran.log));
    }
    Ok(())
}

/// Runs one target: what came of it, and how many inputs it tried.
fn fuzz(triple: &str, target: &str, seconds: u32) -> Result<(Ran, String)> {
    let folder = tree::root().join("fuzz");
    let (corpus, artifacts) = (folder.join("corpus").join(target), folder.join("artifacts").join(target));
    for made in [&corpus, &artifacts] {
        fs::create_dir_all(made).with_context(|| format!("the folder {}", made.display()))?;
    }
    let mut command = Command::new(folder.join("target").join(triple).join("release").join(target));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-timeout=20", "-rss_limit_mb=2048", "-len_control=20"])
        .arg(corpus)
        .args(existing(folder.join("seeds").join(target)));
    let mut units = "no".to_owned();
    let ran = step::run(&format!("fuzz {target}"), command, Show::Failures, |line| {
        if let Some(n) = line.strip_prefix("stat::number_of_executed_units:") {
            units = n.trim().to_owned();
        }
    })?;
    Ok((ran, units))
}

fn build(triple: &str) -> Command {
    let mut command = Command::new("cargo");
    // With --target the flags reach the targets and their dependencies, but no build script.
    command
        .args(["build", "--release", "--bins", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "fuzz/target"])
        .args(["--target", triple])
        .env("RUSTFLAGS", COVERAGE);
    command
}

fn targets() -> Result<Vec<String>> {
    let folder = tree::root().join("fuzz").join("fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("the folder {}", folder.display()))?;
    let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut targets: Vec<String> = files.filter_map(|file| target_of(&file)).collect();
    targets.sort();
    if targets.is_empty() {
        bail!("no fuzz target in {}", folder.display());
    }
    Ok(targets)
}

fn target_of(file: &Path) -> Option<String> {
    let is_source = file.extension().is_some_and(|extension| extension == "rs");
    is_source.then(|| file.file_stem().map(|stem| stem.to_string_lossy().into_owned())).flatten()
}

fn existing(folder: PathBuf) -> Option<PathBuf> {
    folder.is_dir().then_some(folder)
}

fn host_triple() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc does not start")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(host.to_owned())
}
