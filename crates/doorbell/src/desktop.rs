//! `doorbell desktop`: wakes closed browsers when a message waits for them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use doorbell_browsers::Firefox;
use doorbell_browsers::firefox::FOLDER;
use doorbell_desktop::rules::Bounds;
use doorbell_desktop::{Browser, Config, DesktopError, Mode, ProfileConfig, Trust};
use doorbell_protocol::headers::urgency::Urgency;
use tokio::sync::mpsc;
use url::Url;

use crate::browser::{explain, profile_folder, status};
use crate::signals::Signals;
use crate::state::{local_ca, state_dir};

/// Where the desktop part keeps its files, in the state directory.
pub(crate) const FOLDER_NAME: &str = "desktop";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Wait for messages and wake closed browsers, in this terminal
    Run(Box<RunArgs>),
}

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
struct RunArgs {
    /// The push service: its address
    #[arg(env = "DOORBELL_URL", default_value = "https://127.0.0.1:8443")]
    url: Url,

    /// A profile of `doorbell firefox` that is woken: its name, or its folder (with a slash); may be repeated
    #[arg(long, value_name = "NAME|DIR", required = true)]
    firefox: Vec<PathBuf>,

    /// The Firefox ESR to wake [default: firefox-esr or firefox, whichever is on the PATH]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Leave messages below this urgency at the service until the browser runs: very-low, low, normal or high
    #[arg(long, value_name = "LEVEL", default_value = "normal")]
    urgency: Urgency,

    /// Trust the certificate authorities in this file too (PEM) [default: the one that `doorbell serve` made, for a service on this machine]
    #[arg(long, value_name = "FILE", env = "DOORBELL_CA")]
    ca: Option<PathBuf>,

    /// Wake a Firefox that is not an ESR too: headless, with a debug port that every user of this machine can use meanwhile
    #[arg(long)]
    allow_debug_port: bool,
}

/// Printed at the start.
const DEBUG_PORT: &str = "warning: --allow-debug-port: while a Firefox that is not an ESR is woken, every user of this \
machine can read and control it through its debug port, which has no password";

const EXAMPLES: &str = "\
Examples:
  doorbell desktop run --firefox doorbell    the profile of `doorbell firefox`
  doorbell desktop run --firefox work --firefox ./trial
  doorbell desktop run https://push.example.org --firefox doorbell \\
      --urgency high                         only what is urgent wakes it

A Firefox ESR that is closed is started without a window when a message waits for it. Its notification appears, a click \
opens a window, and Firefox ends by itself 15 s after the last window and notification are gone. At most 12 times an \
hour, and less often when a start changes nothing.

SIGINT and SIGTERM stop it; a woken Firefox goes on until it is done.";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let Verb::Run(args) = args.verb;
    let mut signals = Signals::new()?;
    if args.allow_debug_port {
        status(DEBUG_PORT);
    }
    let config = config(*args)?;
    // Nothing asks it for more.
    let (_commands, commanded) = mpsc::channel(1);
    tokio::select! {
        done = doorbell_desktop::run(config, commanded, |report| status(&report.to_string())) => {
            done.map_err(explain_desktop)?;
            Ok(ExitCode::SUCCESS)
        }
        signal = signals.next() => {
            status(&format!("{signal}: stopping; closed browsers stay closed from now on"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Adds what a user tries next.
pub(crate) fn explain_desktop(error: DesktopError) -> Error {
    match error {
        DesktopError::Browser(error) => explain(error),
        other => other.into(),
    }
}

fn config(args: RunArgs) -> Result<Config> {
    let ca = args.ca.or_else(|| local_ca(args.url.as_str()));
    let state = state_dir()
        .context("neither HOME nor XDG_STATE_HOME is set: there is no place for the files of the desktop part")?;
    let firefox = args.binary.as_deref().map_or_else(Firefox::find, Firefox::at).map_err(explain)?;
    let firefoxes = args.firefox.iter().map(|named| {
        let (folder, program) = (profile_folder(named, FOLDER)?, firefox.program().to_owned());
        Ok(ProfileConfig { browser: Browser::Firefox, folder, program, mode: Mode::Woken })
    });
    let profiles: Result<Vec<_>> = firefoxes.collect();
    Ok(Config {
        url: args.url,
        trust: Trust::with(ca.as_deref())?,
        floor: args.urgency,
        profiles: profiles?,
        state: state.join(FOLDER_NAME),
        bounds: Bounds::default(),
        allow_debug_port: args.allow_debug_port,
    })
}
