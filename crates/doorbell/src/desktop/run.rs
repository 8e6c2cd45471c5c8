//! `doorbell desktop run`: what a session starts.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use doorbell_browsers::PushService;
use doorbell_browsers::firefox::default_profile;
use doorbell_desktop::program::{self, Start};
use doorbell_desktop::settings::{ProfileSettings, Settings};
use doorbell_desktop::{Browser, Mode, ProfileConfig};
use doorbell_protocol::headers::urgency::Urgency;
use url::Url;

use super::profiles::{Named, profile_of};
use super::{explained, places, service_url, state_folder};
use crate::browser::status;
use crate::failure;
use crate::state::local_ca;

/// The service on this machine.
pub(super) const LOCAL: &str = "https://127.0.0.1:8443";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(super) struct Args {
    /// The push service: its address [default: the one in the settings, or https://127.0.0.1:8443]
    #[arg(env = "DOORBELL_URL", value_parser = service_url)]
    url: Option<Url>,

    #[command(flatten)]
    named: Named,

    /// Leave messages below this urgency at the service until the browser runs: very-low, low, normal or high
    #[arg(long, value_name = "LEVEL")]
    urgency: Option<Urgency>,

    /// Trust the certificate authorities in this file too (PEM) [default: the one that `doorbell serve` made, for a service on this machine]
    #[arg(long, value_name = "FILE", env = "DOORBELL_CA")]
    ca: Option<PathBuf>,

    /// Wake a Firefox that is not an ESR too: headless, with a debug port that every user of this machine can use meanwhile
    #[arg(long)]
    allow_debug_port: bool,
}

/// Printed at the start.
pub(super) const DEBUG_PORT: &str = "warning: allow_debug_port: while a Firefox that is not an ESR is woken, every user of this \
machine can read and control it through its debug port, which has no password";

const EXAMPLES: &str = "\
Examples:
  doorbell desktop run                       with the settings of `install`
  doorbell desktop run --firefox doorbell    the profile of `doorbell firefox`
  doorbell desktop run --firefox work --firefox ./trial
  doorbell desktop run https://push.example.org --firefox doorbell \\
      --urgency high                         only what is urgent wakes it

A Firefox ESR that is closed is started without a window when a message waits for it. Its notification appears, a click \
opens a window, and Firefox ends by itself 15 s after the last window and notification are gone. At most 12 times an \
hour, and less often when a start changes nothing.

A flag wins over the settings in ~/.config/doorbell/desktop.toml. SIGINT and SIGTERM stop it; a woken Firefox goes on \
until it is done, and a woken Chromium until you quit it.";

pub(super) fn run(args: Args, log: String) -> Result<ExitCode> {
    let start = start(args, log)?;
    if start.allow_debug_port {
        status(DEBUG_PORT);
    }
    let program = program::find().map_err(explained)?;
    let error = Command::new(&program).arg("run").stdin(start.to_file()?).exec();
    bail!("cannot start {}: {error}", program.display())
}

/// The settings for all users, with the profile that this user's Firefox starts with.
fn of_administrator() -> Result<Option<Settings>> {
    // As the specification of XDG has it.
    let folders = std::env::var_os("XDG_CONFIG_DIRS").filter(|folders| !folders.is_empty());
    let folders = folders.unwrap_or_else(|| "/etc/xdg".into());
    for folder in std::env::split_paths(&folders).filter(|folder| folder.is_absolute()) {
        let Some(mut settings) = Settings::read(&folder.join("doorbell/desktop.toml"))? else { continue };
        let home = std::env::var_os("HOME").map(PathBuf::from).context("HOME is not set")?;
        let everyday = default_profile(&home).map(|folder| ProfileSettings {
            browser: Browser::Firefox,
            folder,
            mode: Mode::Woken,
            binary: None,
        });
        settings.profiles.extend(everyday);
        return Ok(Some(settings));
    }
    Ok(None)
}

/// The flags, and below them the settings.
fn start(args: Args, log: String) -> Result<Start> {
    let profiles = args.named.profiles()?;
    let own = state_folder()?;
    let file = places().ok().map(|places| places.settings());
    let settings = file.as_deref().map(Settings::read).transpose()?.flatten();
    let settings = if settings.is_some() { settings } else { of_administrator()? };
    if profiles.is_empty() && settings.is_none() {
        bail!(
            "no profile is named and nothing is installed: name one with --firefox, or use `doorbell desktop install`"
        );
    }
    let default = || LOCAL.parse().context("the address of the service on this machine");
    let url = args.url.or_else(|| settings.as_ref().map(|settings| settings.url.clone()));
    let url: Url = url.map_or_else(default, Ok)?;
    let of_same_service = settings.as_ref().filter(|settings| settings.url == url);
    let ca = args.ca.or_else(|| of_same_service.and_then(|settings| settings.ca.clone()));
    let ca = ca.or_else(|| local_ca(url.as_str()));
    let floor = args.urgency.or_else(|| settings.as_ref().map(|settings| settings.urgency)).unwrap_or_default();
    let state = settings.as_ref().and_then(|settings| settings.state.clone()).unwrap_or(own);
    let allow_debug_port = args.allow_debug_port || settings.as_ref().is_some_and(|settings| settings.allow_debug_port);
    let of_settings = settings.filter(|_| profiles.is_empty()).map_or_else(Vec::new, |settings| settings.profiles);
    let service = PushService::parse(url.as_str())?.origin();
    let (mut remembered, mut refused) = (Vec::new(), Vec::new());
    for settings in of_settings {
        let name = ProfileConfig {
            browser: settings.browser,
            folder: settings.folder.clone(),
            program: settings.binary.clone().unwrap_or_default(),
            mode: settings.mode,
        };
        match profile_of(settings) {
            Ok(profile) => remembered.push(profile),
            Err(error) => refused.push((name, failure::line(&error))),
        }
    }
    Ok(Start { log, url, service, ca, floor, profiles, remembered, refused, state, allow_debug_port })
}
