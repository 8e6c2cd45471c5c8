//! The recipes: what each one runs, in order.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result};

use crate::fuzz;
use crate::instructions;
use crate::report::{Outcome, Report};
use crate::setup;
use crate::shell;
use crate::step::Show;
use crate::tree;

/// How long each attack lasts in CI: long enough to fill what it attacks.
const ATTACK_SECONDS: &str = "4";

/// Everything: what CI runs.
pub(crate) fn test() -> Result<ExitCode> {
    let mut report = Report::new();
    if !setup::run(&mut report)? {
        return Ok(report.finish());
    }
    format_and_lints(&mut report)?;
    // Unit, integration and documentation tests, the house rules, the foreign clients and the crash test.
    report.tests("tests", cargo(&["test", "--workspace", "--no-fail-fast", "--locked"]))?;
    let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
    // For those who work on the project: private items too, so that every link is checked. Comments on flags are what
    // --help prints as well, and a terminal shows a bare URL best.
    docs.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::bare_urls -A rustdoc::private_intra_doc_links");
    report.step("docs", docs, Show::Failures)?;
    let without = ["check", "-p", "doorbell", "--no-default-features", "--locked"];
    report.step("without PostgreSQL", cargo(&without), Show::Failures)?;
    packages(&mut report)?;
    dependencies(&mut report)?;
    attacks(&mut report, &[], ATTACK_SECONDS, Show::Failures)?;
    instructions::check(&mut report)?;
    fuzz::run(&mut report, fuzz::SECONDS_DEFAULT)?;
    Ok(report.finish())
}

/// Installs what the other recipes need.
pub(crate) fn setup() -> Result<ExitCode> {
    let mut report = Report::new();
    setup::run(&mut report)?;
    Ok(report.finish())
}

/// The quick look before a commit.
pub(crate) fn check() -> Result<ExitCode> {
    let mut report = Report::new();
    format_and_lints(&mut report)?;
    report.tests("house rules", cargo(&["test", "--package", "xtask"]))?;
    Ok(report.finish())
}

/// Every fuzz target for `seconds`.
pub(crate) fn fuzz(seconds: u32) -> Result<ExitCode> {
    let mut report = Report::new();
    fuzz::run(&mut report, seconds)?;
    Ok(report.finish())
}

/// Whether a message's way takes more instructions than it did.
pub(crate) fn instructions() -> Result<ExitCode> {
    let mut report = Report::new();
    instructions::check(&mut report)?;
    Ok(report.finish())
}

/// Records the instructions of a message's way.
pub(crate) fn record_instructions() -> Result<ExitCode> {
    let mut report = Report::new();
    instructions::record(&mut report)?;
    Ok(report.finish())
}

/// The crash tests, longer than CI has time for.
pub(crate) fn crash(rounds: &str) -> Result<ExitCode> {
    let mut report = Report::new();
    let mut command = cargo(&["test", "--package", "doorbell", "--test", "crash", "--", "--nocapture"]);
    command.env("DOORBELL_CRASH_ROUNDS", rounds);
    report.tests("crash", command)?;
    let mut jumps = cargo(&["test", "--package", "doorbell", "--test", "clock", "--", "--nocapture"]);
    jumps.env("DOORBELL_ROUNDS", rounds);
    report.tests("crash with clocks that jump", jumps)?;
    Ok(report.finish())
}

/// The attacks, longer than CI has time for, on the program at full speed.
pub(crate) fn attack(seconds: &str) -> Result<ExitCode> {
    let mut report = Report::new();
    attacks(&mut report, &["--release"], seconds, Show::Everything)?;
    Ok(report.finish())
}

/// Builds the program and what attacks it, and runs the attacks.
fn attacks(report: &mut Report, profile: &[&str], seconds: &str, show: Show) -> Result<()> {
    let build = ["build", "--locked", "-p", "doorbell", "-p", "doorbell-load", "--bins", "--examples"];
    if report.step("attack build", cargo(&[&build, profile].concat()), Show::Failures)? {
        let mut run = cargo(&[&["run", "--locked", "-p", "doorbell-load", "--example", "attack"], profile].concat());
        run.args(["--", "--seconds", seconds]);
        report.step("attack", run, show)?;
    }
    Ok(())
}

fn format_and_lints(report: &mut Report) -> Result<()> {
    report.step("format", cargo(&["fmt", "--all", "--check"]), Show::Failures)?;
    report.step("fuzz format", cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]), Show::Failures)?;
    let senders = ["fmt", "--manifest-path", "e2e/senders/rust/Cargo.toml", "--check"];
    report.step("sender format", cargo(&senders), Show::Failures)?;
    report.step("lints", cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]), Show::Failures)?;
    Ok(())
}

/// What can be published, with private-file, which the agent depends on.
const PACKAGES: [&str; 4] = ["doorbell-protocol", "doorbell-private-file", "doorbell-agent", "doorbell-sender"];

/// The libraries as packages: each is complete and builds from its package alone, in a target directory of its own. Also
/// the sender without its client, which no other step builds.
fn packages(report: &mut Report) -> Result<()> {
    let target = tree::root().join("target").join("packages");
    forget_packages(&target)?;
    let mut publish = cargo(&["publish", "--dry-run", "--locked", "--allow-dirty"]);
    publish.args(PACKAGES.iter().flat_map(|package| ["-p", package]));
    publish.arg("--target-dir").arg(target);
    publish.env("CARGO_PROFILE_DEV_DEBUG", "0");
    report.step("packages", publish, Show::Failures)?;
    let core = ["clippy", "-p", "doorbell-sender", "--no-default-features", "--lib", "--", "-D", "warnings"];
    report.step("sender without client", cargo(&core), Show::Failures)?;
    Ok(())
}

/// Removes what an earlier run left. Cargo unpacks a package once per version and place, and never looks whether the
/// package of the same version has changed since: the packages would build with old ones of each other.
fn forget_packages(target: &Path) -> Result<()> {
    remove_tree(target)?;
    let Some(home) = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))
    else {
        return Ok(());
    };
    let Ok(registries) = fs::read_dir(home.join("registry").join("src")) else { return Ok(()) };
    for registry in registries {
        for package in fs::read_dir(registry?.path())? {
            let package = package?.path();
            let is_ours = |name: &str| PACKAGES.iter().any(|ours| name.starts_with(&format!("{ours}-")));
            if package.file_name().and_then(|name| name.to_str()).is_some_and(is_ours) {
                remove_tree(&package)?;
            }
        }
    }
    Ok(())
}

fn remove_tree(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context(format!("{}", folder.display())),
        _ => Ok(()),
    }
}

/// cargo-deny. The advisories live in a database on the network, without which they cannot be checked.
fn dependencies(report: &mut Report) -> Result<()> {
    report.step("dependencies", cargo(&["deny", "check", "bans", "licenses", "sources"]), Show::Failures)?;
    if shell::succeeds("cargo", &["deny", "fetch", "db"]) {
        report.step("advisories", cargo(&["deny", "check", "--disable-fetch", "advisories"]), Show::Failures)?;
    } else {
        let note = "NOT CHECKED: the advisory database could not be fetched".to_owned();
        report.add("advisories", Outcome::Skipped, Duration::ZERO, note, None);
    }
    Ok(())
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(args);
    command
}
