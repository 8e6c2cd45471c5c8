//! `doorbell firefox`: starts the user's own Firefox with a profile whose push service is ours.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};

use anyhow::Result;
use doorbell_browsers::firefox::{FOLDER, policies, process_of, server_url, user_js};
use doorbell_browsers::{Firefox, Preparation, PushService, replace_this_process, start};
use doorbell_desktop::StartLock;
use doorbell_desktop::firefox::{is_woken, takes_pages};

use crate::browser::{check, explain, notify, profile_folder, status, wait_for_start_lock};
use crate::state::local_ca;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Args {
    /// The push service: its address
    #[arg(env = "DOORBELL_URL", default_value = "https://127.0.0.1:8443")]
    url: String,

    /// The profile that Firefox works with: a name, kept in the state directory, or a folder (with a slash)
    #[arg(long, value_name = "NAME|DIR", default_value = "doorbell")]
    profile: PathBuf,

    /// Delete the profile first: its subscriptions, cookies and settings are deleted
    #[arg(long)]
    fresh: bool,

    /// The Firefox to start [default: firefox-esr or firefox, whichever is on the PATH]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Make the profile trust this certificate authority (PEM) [default: the one that `doorbell serve` made, for a service on this machine]
    #[arg(long, value_name = "FILE", env = "DOORBELL_CA")]
    ca: Option<PathBuf>,

    /// Only prepare the profile, and print its folder
    #[arg(long)]
    prepare: bool,

    /// Print a policies.json for many machines, and start nothing
    #[arg(long, conflicts_with_all = ["prepare", "print_user_js"])]
    print_policies: bool,

    /// Print a user.js for a profile that is there already, and start nothing
    #[arg(long, conflicts_with = "prepare")]
    print_user_js: bool,

    /// Passed to Firefox: a page to open, or its own flags
    #[arg(last = true, value_name = "FIREFOX-ARGS")]
    rest: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  doorbell firefox                       the service on this machine
  doorbell firefox --fresh -- http://localhost:8000/
  doorbell firefox https://push.example.org --profile ./trial
  doorbell firefox --prepare             for a test that starts Firefox itself
  doorbell firefox https://push.example.org --print-policies \\
      > /etc/firefox/policies/policies.json

Messages arrive while this Firefox runs, whichever pages are open; the service keeps them until then. The settings \
that doorbell writes into the profile are in its user.js, each with its reason. Your other profiles are not touched.";

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let service = PushService::parse(&args.url)?;
    let ca = args.ca.clone().or_else(|| local_ca(&args.url)).filter(|_| !service.is_plain());
    if args.print_policies {
        print!("{}", policies(&service, ca.as_deref())?);
        return Ok(ExitCode::SUCCESS);
    }
    if args.print_user_js {
        print!("{}", user_js(&service));
        return Ok(ExitCode::SUCCESS);
    }
    let firefox = args.binary.as_deref().map_or_else(Firefox::find, Firefox::at).map_err(explain)?;
    check(&service, ca.as_deref())?;
    let folder = profile_folder(&args.profile, FOLDER)?;
    // A Firefox that a user has started keeps the lock until it ends, and one that was woken until it takes pages.
    let runs = || process_of(&folder).is_some_and(|process| !is_woken(process) || takes_pages(&folder, process));
    let lock = wait_for_start_lock(&folder, runs)?;
    if let Some(process) = process_of(&folder).filter(|&process| !args.fresh && takes_pages(&folder, process)) {
        status(&format!("a woken Firefox (process {process}) works with the profile: it opens the window"));
        let mut command = firefox.command_for(&folder);
        command.args(&args.rest);
        return Err(explain(replace_this_process(command)));
    }
    let preparation = Preparation { service: &service, ca: ca.as_deref(), folder: &folder, fresh: args.fresh };
    let profile = firefox.prepare(&preparation, notify).map_err(explain)?;
    if args.prepare {
        println!("{}", profile.folder().display());
        return Ok(ExitCode::SUCCESS);
    }
    status(&format!("{} receives from {}", profile.folder().display(), server_url(&service)));
    let mut command = firefox.command(&profile);
    command.args(&args.rest);
    // Held until Firefox ends: while it starts, `doorbell desktop` does not wake another one.
    let _lock = lock.map(StartLock::hand_on).transpose()?;
    Err(explain(replace_this_process(command)))
}

/// Starts one next to this process, with the profile `named`, at `page`.
pub(crate) fn open(url: &str, ca: Option<&Path>, named: &Path, page: &str) -> Result<Child> {
    let (service, firefox) = (PushService::parse(url)?, Firefox::find().map_err(explain)?);
    let folder = profile_folder(named, FOLDER)?;
    let preparation = Preparation { service: &service, ca, folder: &folder, fresh: false };
    let profile = firefox.prepare(&preparation, notify).map_err(explain)?;
    let mut command = firefox.command(&profile);
    // Without --no-remote a window of another profile would open the page.
    command.arg("--no-remote").arg(page);
    start(command).map_err(explain)
}
