//! `doorbell load`: measures a push service, so that every user can repeat every figure.

use std::io::{Write, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Error, Result, anyhow, bail};
use doorbell_load::{Door, LoadError, Options, RATES, Report, Scenario, Target};

use crate::open_files;
use crate::output;
use crate::shell::quoted;
use crate::signals::Signals;
use crate::state::local_ca;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Args {
    /// What to measure
    #[arg(value_enum, required_unless_present = "worker")]
    scenario: Option<Scenario>,

    /// The push service [default: one of its own, started for this and deleted]
    #[arg(value_name = "URL")]
    url: Option<String>,

    /// Trust the certificate authorities in this file, and no others (PEM)
    #[arg(long, value_name = "FILE", env = "DOORBELL_CA")]
    ca: Option<PathBuf>,

    /// The process of the service at URL, if it runs on this machine: its CPU and memory are measured
    #[arg(long, value_name = "N", requires = "url")]
    pid: Option<u32>,

    /// Where its own service keeps its state, in a new directory: a disk or a tmpfs [default: the temporary directory];
    /// with URL: where that service has its own, so that its disk can be measured too
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Its own service stores messages in this empty PostgreSQL database [default: a file in its state]
    #[arg(long, value_name = "URL", conflicts_with_all = ["url", "repeat"])]
    database: Option<String>,

    /// The first process of a server of the database, on this machine: its CPU is measured too; may be repeated
    #[arg(long, value_name = "N", requires = "database")]
    database_pid: Vec<u32>,

    /// Start its own service without TLS
    #[arg(long, conflicts_with = "url")]
    no_tls: bool,

    /// Where agents receive
    #[arg(long, value_enum, default_value = "firefox")]
    door: Door,

    /// How many agents there are
    #[arg(long, value_name = "N", default_value = "1000", value_parser = at_least_one)]
    agents: usize,

    /// How many messages to send [default: as many as there is time for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,

    /// How long to measure [default: 10, or until all messages are sent]
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,

    /// How many messages a second, whatever the service does [default for latency: 50]
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    rate: Option<f64>,

    /// The bytes of a message's body, which is random and cannot be decrypted
    #[arg(long, value_name = "BYTES", default_value = "1024")]
    size: usize,

    /// How many connections send
    #[arg(long, value_name = "N", default_value = "4", value_parser = at_least_one)]
    senders: usize,

    /// Send over HTTP/1.1, as most senders do: one message at a time on each connection
    #[arg(long)]
    http1: bool,

    /// How many processes share the load, each with one thread and an address of its own
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    processes: usize,

    /// Measure several times, each time from the start
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    repeat: usize,

    /// Write all figures as JSON too; `-`: to standard output, with the table on standard error
    #[arg(long, value_name = "FILE")]
    json: Option<String>,

    /// Be a worker of another `doorbell load`
    #[arg(long, hide = true)]
    worker: bool,
}

const EXAMPLES: &str = "\
Examples:
  doorbell load idle --agents 15000      memory for each connected Firefox
  doorbell load idle --agents 5000 --door http2
                                         memory for each held GET of HTTP/2
  doorbell load connected --seconds 30 --repeat 3
                                         messages a second, CPU, bytes for each
  doorbell load connected --http1 --senders 64
                                         the same from senders of the usual kind
  doorbell load offline --messages 100000
                                         CPU to store, and to deliver later
  doorbell load backlog --messages 1000000
                                         killed with a million waiting messages
  doorbell load latency --rate 50 --seconds 60
                                         POST to agent, and one fdatasync
  doorbell load storm --agents 15000     all agents come back at once
  doorbell load wake --agents 1000       memory of machines with wake streams
  doorbell load day --seconds 600 --door chromium
                                         agents come and go: is anything lost?
  doorbell load connected --database postgres://doorbell@localhost/load
                                         messages in PostgreSQL
  doorbell load idle --state /dev/shm --json idle.json
                                         state on a tmpfs, figures as JSON
  doorbell load connected https://push.example.org --ca ca.pem --pid 4711
                                         a service that runs already

Build it with --release, and leave the machine alone meanwhile. A process of the load holds as many agents as it may \
have open files; --processes spreads them. Read its notes at the end: a figure may be the load's own. A service at URL bounds \
what one source may have and create, and answers 429 above it: start it for the measurement with \
--connections-per-source-max 0 --new-agents-per-source 0 --new-agents-per-minute 0.

Exit status:
  0  everything was measured
  1  it could not be, or the service lost a message, delivered one twice on one
     connection, or delivered one long after its TTL";

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| RATES.contains(rate));
    rate.ok_or_else(|| format!("give a number from {} to {}", RATES.start(), RATES.end()))
}

/// Nothing can be measured with none of them.
fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "give a number, at least 1".to_owned())
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let Some(scenario) = args.scenario.filter(|_| !args.worker) else {
        return Ok(doorbell_load::work(open_files::raise_limit()).await?);
    };
    let mut signals = Signals::new()?;
    let options = options(&args).await?;
    let report = tokio::select! {
        report = doorbell_load::measure(scenario, &options, args.repeat) => {
            report.map_err(|error| explain(error, args.url.as_deref()))?
        }
        signal = signals.next() => bail!("{signal}: nothing was measured to its end"),
    };
    show(&report, args.json.as_deref())?;
    Ok(if report.is_faultless() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// With what examines a service that is not the load's own.
fn explain(error: LoadError, url: Option<&str>) -> Error {
    match (&error, url) {
        (LoadError::Service(_), Some(url)) => {
            anyhow!(
                "{error}; `doorbell doctor {}` examines the service; if it answers 429, `doorbell load --help` names the \
                 bounds to lift",
                quoted(url)
            )
        }
        _ => error.into(),
    }
}

fn show(report: &Report, json: Option<&str>) -> Result<()> {
    let text = || serde_json::to_string_pretty(&report.json());
    match json {
        Some("-") => {
            write!(stderr(), "{}", report.table()).ok();
            output::result(text()?)?;
        }
        Some(file) => {
            output::report(report.table().to_string().trim_end());
            std::fs::write(file, text()? + "\n").with_context(|| format!("cannot write {file}"))?;
        }
        None => output::result(report.table().to_string().trim_end())?,
    }
    Ok(())
}

async fn options(args: &Args) -> Result<Options> {
    let target = match &args.url {
        Some(url) => Some(Target::resolve(url, args.ca.clone().or_else(|| local_ca(url))).await?),
        None => None,
    };
    Ok(Options {
        tls: target.as_ref().map_or(!args.no_tls, Target::tls),
        target,
        pid: args.pid,
        state: args.state.clone(),
        database: args.database.clone(),
        database_pids: args.database_pid.clone(),
        door: args.door,
        agents: args.agents,
        messages: args.messages,
        seconds: args.seconds,
        rate: args.rate,
        size: args.size,
        senders: args.senders,
        http1: args.http1,
        processes: args.processes,
    })
}
