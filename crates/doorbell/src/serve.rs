//! `doorbell serve`: runs the push service until a signal comes.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use doorbell_service::config::{Config, Settings};
use doorbell_service::{Clock, Service};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::shell::quoted;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A TOML file with the same settings, under the flags' names with underscores: `ttl_max_secs = 3600`
    #[arg(long, env = "DOORBELL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Seal URLs with a new key from now on; those given out so far stay good
    #[arg(long)]
    rotate_capability_key: bool,

    #[command(flatten)]
    settings: Settings,
}

const EXAMPLES: &str = "\
Examples:
  doorbell serve                                    on https://127.0.0.1:8443, to try it out
  doorbell serve --listen 0.0.0.0:443 --public-url https://push.example.org \\
      --tls-cert fullchain.pem --tls-key privkey.pem
  doorbell serve --listen 127.0.0.1:8080 --plain    without TLS, for tests on this machine
  doorbell serve --config /etc/doorbell.toml

A setting is taken from its flag, else from its environment variable, else from the file, else it has its default.
SIGTERM and SIGINT stop the service in order; a second signal stops it at once.";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let config = Config::load(args.settings, args.config.as_deref())?;
    // Listening for signals begins first, so that none that comes during the start is lost.
    let mut signals = Signals::new()?;
    let clock = Clock::system();
    allow_open_files(config.limits.connections_max);
    if args.rotate_capability_key {
        Service::rotate_capability_key(&config, &clock)?;
    }
    let service = Service::start(config, clock).await?;
    print_welcome(&service);
    tokio::select! {
        name = signals.next() => info!("{name}: draining"),
        failure = service.failed() => {
            // Nothing that is under way may be answered as accepted any more; what the disk holds is read at the next start.
            error!(%failure, "stopping");
            return Ok(ExitCode::FAILURE);
        }
    }
    tokio::select! {
        stopped = service.stop() => stopped?,
        name = signals.next() => {
            warn!("{name} again: stopping at once");
            return Ok(ExitCode::FAILURE);
        }
    }
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Files that are open beside connections: the store's, the logs', the listening socket.
const OTHER_FILES: u64 = 64;

/// Raises this process's limit of open files as far as it may, since each connection is one.
pub(crate) fn allow_open_files(connections_max: usize) {
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        warn!(%error, "cannot raise the limit of open files");
    }
    let needed = connections_max as u64 + OTHER_FILES;
    if allowed < needed {
        warn!(allowed, needed, "the limit of open files is below connections_max: raise it (LimitNOFILE, ulimit -n)");
    }
}

/// The URLs, and the two commands to try next.
fn print_welcome(service: &Service) {
    let origin = service.origin();
    println!("listening on {origin}");
    let ca = service.ca_file().map(|file| format!(" --ca {}", quoted(&file.display().to_string()))).unwrap_or_default();
    if let Some(file) = service.ca_file() {
        println!("trust      {} (a throw-away CA, made for this state directory)", file.display());
    }
    println!("subscribe  POST {origin}/subscribe");
    println!();
    println!("Try it, each in a terminal of its own:");
    let doorbell = own_name();
    println!("  {doorbell} listen {origin}{ca} --subscription sub.json");
    println!("  {doorbell} send{ca} sub.json 'Hello, it is me'");
    println!();
    println!("Or with your own browser, and any web page that uses push:");
    println!("  {doorbell} firefox {origin}{ca}");
    println!("  {doorbell} chromium {origin}{ca}");
}

/// The word by which this program was started: also right when it is not on the PATH.
pub(crate) fn own_name() -> String {
    std::env::args().next().map_or_else(|| "doorbell".to_owned(), |word| quoted(&word))
}

/// The signals that mean: stop.
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
