//! `doorbell desktop`: wakes closed browsers when a message waits for them.

mod install;
mod profiles;
mod register;
mod run;
mod show;
mod uninstall;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Error, Result, anyhow};
use doorbell_desktop::DesktopError;
use doorbell_desktop::install::Places;
use url::Url;

use crate::state::state_dir;

pub(crate) use register::register;

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
    /// Start it with each session of yours from now on, without root
    Install(Box<install::Args>),
    /// Show what it is doing, and what failed
    Status(show::Args),
    /// Wait for messages and wake closed browsers, in this terminal
    Run(Box<run::Args>),
    /// Take away all that `install` has written
    Uninstall(uninstall::Args),
}

const EXAMPLES: &str = "\
Examples:
  doorbell desktop install https://push.example.org
  doorbell desktop status
  doorbell desktop uninstall

A browser that is closed is started without a window when a message waits for it. Its notification appears, a click \
opens a window, and the browser ends by itself when nothing is left to do.";

/// `log` is what to log.
pub(crate) fn run(args: Args, log: String) -> Result<ExitCode> {
    match args.verb {
        Verb::Install(args) => install::run(&args),
        Verb::Status(args) => show::run(&args),
        Verb::Run(args) => run::run(*args, log),
        Verb::Uninstall(args) => uninstall::run(&args),
    }
}

/// The address of a push service.
fn service_url(text: &str) -> Result<Url, String> {
    text.parse().map_err(|error| format!("{error}; a service is named as in https://push.example.org"))
}

/// The desktop part's own folder.
fn state_folder() -> Result<PathBuf> {
    let state = state_dir()
        .context("neither HOME nor XDG_STATE_HOME is set: there is no place for the files of the desktop part")?;
    Ok(std::path::absolute(state)?.join(FOLDER_NAME))
}

/// Where the files of this user are.
fn places() -> Result<Places> {
    Places::of_user(state_folder()?).context("HOME is not set: there is no place for an installation")
}

/// With what a user tries next.
pub(crate) fn explained(error: DesktopError) -> Error {
    anyhow!(error.explained())
}
