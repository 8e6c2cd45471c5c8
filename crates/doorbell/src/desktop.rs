//! `doorbell desktop`: wakes closed browsers when a message waits for them.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use doorbell_browsers::{Chromium, Firefox, chromium, firefox};
use doorbell_desktop::chromium::serve_extension;
use doorbell_desktop::rules::Bounds;
use doorbell_desktop::{Browser, Config, DesktopError, Mode, ProfileConfig, Trust};
use doorbell_protocol::headers::urgency::Urgency;
use tokio::sync::mpsc;
use url::Url;

use crate::browser::{explain, profile_folder, status};
use crate::signals::Signals;
use crate::state::{local_ca, state_dir};

/// Where the desktop part keeps its files, in the state directory.
const FOLDER_NAME: &str = "desktop";

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
    /// Chromium starts it for the extension of doorbell
    #[command(hide = true)]
    NativeHost(HostArgs),
}

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
struct RunArgs {
    /// The push service: its address
    #[arg(env = "DOORBELL_URL", default_value = "https://127.0.0.1:8443")]
    url: Url,

    /// A profile of `doorbell firefox` that is woken: its name, or its folder (with a slash); may be repeated
    #[arg(long, value_name = "NAME|DIR", required_unless_present = "chromium")]
    firefox: Vec<PathBuf>,

    /// A profile of `doorbell chromium` that is kept reachable: its name, or its folder (with a slash); may be repeated
    #[arg(long, value_name = "NAME|DIR")]
    chromium: Vec<PathBuf>,

    /// Let the Firefoxes stay: they are started with the desktop part, without a window
    #[arg(long)]
    firefox_stays: bool,

    /// End the Chromiums when nothing is left to do, and wake them, which takes seconds [default: they stay]
    #[arg(long)]
    chromium_ends: bool,

    /// The Firefox ESR to wake [default: firefox-esr or firefox, whichever is on the PATH]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// The Chromium to start [default: chromium, chromium-browser, google-chrome-stable or google-chrome, the first on the PATH]
    #[arg(long, value_name = "FILE")]
    chromium_binary: Option<PathBuf>,

    /// Leave messages below this urgency at the service until the browser runs: very-low, low, normal or high
    #[arg(long, value_name = "LEVEL", default_value = "normal")]
    urgency: Urgency,

    /// Trust the certificate authorities in this file too (PEM) [default: the one that `doorbell serve` made, for a service on this machine]
    #[arg(long, value_name = "FILE", env = "DOORBELL_CA")]
    ca: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
struct HostArgs {
    /// The profile
    #[arg(long, value_name = "DIR")]
    profile: PathBuf,

    /// The extension, as Chromium names it
    origin: String,
}

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
    let args = match args.verb {
        Verb::Run(args) => args,
        Verb::NativeHost(HostArgs { profile, origin }) => {
            serve_extension(&profile, &origin, io::stdin().lock(), io::stdout().lock())?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let mut signals = Signals::new()?;
    let config = config(*args)?;
    // Nothing asks it for more.
    let (_commands, commanded) = mpsc::channel(1);
    tokio::select! {
        done = doorbell_desktop::run(config, commanded, |report| status(&report.to_string())) => {
            done.map_err(|error| match error {
                DesktopError::Browser(error) => explain(error),
                other => other.into(),
            })?;
            Ok(ExitCode::SUCCESS)
        }
        signal = signals.next() => {
            status(&format!("{signal}: stopping; closed browsers stay closed from now on"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn config(args: RunArgs) -> Result<Config> {
    let ca = args.ca.or_else(|| local_ca(args.url.as_str()));
    let state = state_dir()
        .context("neither HOME nor XDG_STATE_HOME is set: there is no place for the files of the desktop part")?;
    let mut profiles = Vec::new();
    if !args.firefox.is_empty() {
        let firefox = args.binary.as_deref().map_or_else(Firefox::find, Firefox::at).map_err(explain)?;
        let mode = if args.firefox_stays { Mode::Resident } else { Mode::Woken };
        for named in &args.firefox {
            let (folder, program) = (profile_folder(named, firefox::FOLDER)?, firefox.program().to_owned());
            profiles.push(ProfileConfig { browser: Browser::Firefox, folder, program, mode });
        }
    }
    if !args.chromium.is_empty() {
        let chromium = args.chromium_binary.as_deref().map_or_else(Chromium::find, Chromium::at).map_err(explain)?;
        let mode = if args.chromium_ends { Mode::Woken } else { Mode::Resident };
        for named in &args.chromium {
            let (folder, program) = (profile_folder(named, chromium::FOLDER)?, chromium.program().to_owned());
            profiles.push(ProfileConfig { browser: Browser::Chromium, folder, program, mode });
        }
    }
    Ok(Config {
        url: args.url,
        trust: Trust::with(ca.as_deref())?,
        floor: args.urgency,
        profiles,
        state: state.join(FOLDER_NAME),
        bounds: Bounds::default(),
    })
}
