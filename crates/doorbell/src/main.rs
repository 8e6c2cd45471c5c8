//! The `doorbell` command: all three roles of Web Push, one verb each.

mod environment;
mod keys;
mod listen;
mod send;
mod serve;
mod state;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

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
    /// Make and show VAPID keys
    Keys(keys::Args),
}

const EXAMPLES: &str = "\
Try it in three terminals:
  doorbell serve
  doorbell listen --subscription sub.json
  doorbell send sub.json 'Hello, it is me'";

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
        Verb::Keys(args) => keys::run(args),
    };
    done.unwrap_or_else(|error| fail(&error))
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|e| anyhow::anyhow!("--log {filter}: {e}"))?;
    // The h2 crate writes a malformed path into its debug lines, and a path is a secret here (invariant 8).
    let filter = filter.add_directive("h2=info".parse()?).add_directive("h2::server=info".parse()?);
    let colour = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    lines.with_ansi(colour).with_target(false).init();
    Ok(())
}

/// Says what went wrong, with its causes, on one line.
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("doorbell: {error:#}");
    ExitCode::FAILURE
}
