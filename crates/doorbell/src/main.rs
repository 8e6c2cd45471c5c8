//! The `doorbell` command: all three roles of Web Push, one verb each.

mod browser;
mod chromium;
mod demo;
mod doctor;
mod environment;
mod firefox;
mod keys;
mod listen;
mod load;
mod open_files;
mod send;
mod serve;
mod shell;
mod signals;
mod state;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Layer};

/// Web Push, whole: a push service, a user agent and an application server.
#[derive(Parser)]
#[command(name = "doorbell", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// What to log to stderr: error, warn, info, debug, trace, or a filter such as `warn,doorbell_service=debug`
    #[arg(long, global = true, env = "DOORBELL_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the push service
    Serve(Box<serve::Args>),
    /// Be a user agent: subscribe, receive, decrypt, acknowledge
    Listen(Box<listen::Args>),
    /// Be an application server: encrypt, sign and send a message
    Send(Box<send::Args>),
    /// Start Firefox with this push service as its own
    Firefox(Box<firefox::Args>),
    /// Start Chromium with this push service as its own
    Chromium(Box<chromium::Args>),
    /// Run the push service and an application that uses it: people who call each other
    Demo(Box<demo::Args>),
    /// Examine a push service from the outside, and say how to mend what is wrong
    Doctor(Box<doctor::Args>),
    /// Measure a push service
    Load(Box<load::Args>),
    /// Make and show VAPID keys
    Keys(keys::Args),
}

const EXAMPLES: &str = "\
Try it in three terminals:
  doorbell serve
  doorbell listen --subscription sub.json
  doorbell send sub.json 'Hello, it is me'

Or see what it is good for:
  doorbell demo";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = log_to_stderr(&cli.log) {
        return fail(&error);
    }
    let done = match cli.verb {
        Verb::Serve(args) => match environment::check(&Cli::command()) {
            Ok(()) => serve::run(*args).await,
            Err(error) => Err(error),
        },
        Verb::Listen(args) => listen::run(*args).await,
        Verb::Send(args) => send::run(*args).await,
        Verb::Firefox(args) => firefox::run(&args),
        Verb::Chromium(args) => chromium::run(&args),
        Verb::Demo(args) => match environment::check(&Cli::command()) {
            Ok(()) => demo::run(*args).await,
            Err(error) => Err(error),
        },
        Verb::Doctor(args) => doctor::run(*args).await,
        Verb::Load(args) => load::run(*args).await,
        Verb::Keys(args) => keys::run(args),
    };
    done.unwrap_or_else(|error| fail(&error))
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|e| anyhow::anyhow!("--log {filter}: {e}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_target(false);
    tracing_subscriber::registry().with(filter).with(lines.with_filter(filter_fn(keeps_secrets))).init();
    Ok(())
}

/// Crates that write what clients send into their debug lines: h2 malformed paths and the words of a GOAWAY, tungstenite
/// whole messages. Those are secrets here (invariant 8), so no filter that somebody gives brings these lines back.
const TALKATIVE: [&str; 3] = ["h2", "tungstenite", "tokio_tungstenite"];

fn keeps_secrets(line: &tracing::Metadata<'_>) -> bool {
    let talks = TALKATIVE.iter().any(|name| line.target().starts_with(name));
    !talks || *line.level() <= tracing::Level::INFO
}

/// Says what went wrong, with its causes, on one line.
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("doorbell: {error:#}");
    ExitCode::FAILURE
}
