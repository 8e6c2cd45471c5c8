//! Attacks a push service of its own, `doorbell serve` with its default bounds, beside honest parties: how long each of
//! them takes before, during and after each attack, and how much memory the service has kept a minute after the last.
//!
//! `cargo xtask attack --seconds 60` builds and runs it. It fails if an honest party fails, or if the memory does not
//! come back.

mod attacks;
mod client;
mod clock;
mod honest;
mod service;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::sleep;

use attacks::{Attack, Counts};
use client::Connection;
use clock::Stopwatch;
use honest::{Honest, Measured};
use service::Service;

/// Files of this process that are no connections of an attack.
const OTHER_FILES: u64 = 1000;

/// How long after the last attack the memory must have come back.
const MEMORY_WITHIN: Duration = Duration::from_secs(60);

/// The memory that a service may keep, relative to what it had before the attacks.
const KEPT_MAX: f64 = 2.0;

/// Attack a push service of its own.
#[derive(Parser)]
struct Args {
    /// How long each attack lasts; the phases before and after it take a quarter of it
    #[arg(long, default_value_t = 60)]
    seconds: u64,

    /// Agents that are connected and silent all the time
    #[arg(long, default_value_t = 2000)]
    idle: usize,

    /// Run these attacks only
    #[arg(long, value_delimiter = ',')]
    only: Vec<Attack>,

    /// The `doorbell` program [default: the one of the same build]
    #[arg(long)]
    program: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            faults.iter().for_each(|fault| eprintln!("FAULT: {fault}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("attack: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> io::Result<Vec<String>> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => built()?,
    };
    let files_max = files_max()?;
    let service = Service::start(&program).await?;
    let mut idle = Vec::new();
    for number in 0..args.idle {
        let mut agent = Connection::open(service.address, honest::source_of_idle(number)).await?;
        agent.hello().await?;
        agent.register().await?;
        idle.push(agent);
    }
    let chosen = if args.only.is_empty() { Attack::value_variants() } else { &args.only[..] };
    let mut faults = Vec::new();
    let mut before = None;
    for &attack in chosen {
        let about = attack.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        println!("{attack:?}: {}", about.unwrap_or_default());
        let (measured, counts) = (Arc::new(Measured::default()), Arc::new(Counts::default()));
        let honest = Honest::start(service.address, &measured).await?;
        let around = Duration::from_secs(args.seconds.div_ceil(4).max(2));
        sleep(around).await;
        let rss_before = service.rss_anon_kib()?;
        let first = *before.get_or_insert(rss_before);
        measured.begin_phase(1);
        let attackers = attack.start(service.address, &counts, files_max);
        let peak = peak_during(&service, Duration::from_secs(args.seconds)).await?;
        drop(attackers);
        measured.begin_phase(2);
        sleep(around).await;
        drop(honest);
        let (table, failures) = measured.table();
        println!(
            "            milliseconds: median, p99, times done, failures\n              before                          | during                          | after"
        );
        print!("{table}");
        println!("  the attack: {}", counts.to_text());
        println!(
            "  RssAnon: {} before, {} at most, {} after (at first {})",
            mib(rss_before),
            mib(peak),
            mib(service.rss_anon_kib()?),
            mib(first)
        );
        faults.extend(failures.into_iter().map(|failure| format!("{attack:?}: {failure}")));
    }
    let before = before.unwrap_or_default();
    let kept = kept(&service, before).await?;
    println!(
        "with the same {} idle agents, RssAnon was {} before the attacks and is {} after them",
        args.idle,
        mib(before),
        mib(kept)
    );
    if kept as f64 > before as f64 * KEPT_MAX {
        faults.push(format!("the memory has not come back: {} instead of {}", mib(kept), mib(before)));
    }
    println!("warnings in its log:");
    service.warnings()?.iter().for_each(|line| println!("  {line}"));
    Ok(faults)
}

/// Waits, and returns the greatest RssAnon of this time.
async fn peak_during(service: &Service, time: Duration) -> io::Result<u64> {
    let (stopwatch, mut peak) = (Stopwatch::start(), 0);
    while stopwatch.elapsed() < time {
        peak = peak.max(service.rss_anon_kib()?);
        sleep(Duration::from_millis(100)).await;
    }
    Ok(peak)
}

/// Waits until the memory is back, for a minute at most: RssAnon then.
async fn kept(service: &Service, before: u64) -> io::Result<u64> {
    let stopwatch = Stopwatch::start();
    loop {
        let kept = service.rss_anon_kib()?;
        if kept as f64 <= before as f64 * KEPT_MAX || stopwatch.elapsed() > MEMORY_WITHIN {
            return Ok(kept);
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// The program of the same build: `target/PROFILE/doorbell` for `target/PROFILE/examples/attack`.
fn built() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(|examples| examples.parent());
    folder.map(|folder| folder.join("doorbell")).ok_or_else(|| io::Error::other("give --program"))
}

/// How many connections an attack may open, after this process has raised its limit.
fn files_max() -> io::Result<usize> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Ok(usize::try_from(allowed.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX))
}

fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}
