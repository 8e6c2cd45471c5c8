//! `doorbell firefox`: starts the user's own Firefox with a profile whose push service is ours.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, bail};
use doorbell_browsers::firefox::{FOLDER, is_adopted, is_profile, policies, process_of, server_url, user_js};
use doorbell_browsers::{BrowserError, Firefox, Preparation, PushService, Started, replace_this_process};
use doorbell_desktop::firefox::{has_started, is_woken, shares_pages, takes_pages};
use doorbell_desktop::{Browser, Mode, ProfileConfig, StartLock};

use crate::browser::{Opened, check, check_later, explain, notify, private_page, profile_folder, status};
use crate::desktop::register;
use crate::output;
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

/// How often it is checked whether another process has started its Firefox, and the pause between two checks: half a
/// minute in all, for the first start of a profile on a slow machine.
const LOCK_CHECKS_MAX: u32 = 600;
const LOCK_CHECK_INTERVAL: Duration = Duration::from_millis(50);

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let service = PushService::parse(&args.url)?;
    let ca = args.ca.clone().or_else(|| local_ca(&args.url)).filter(|_| !service.is_plain());
    if args.print_policies {
        output::result(policies(&service, ca.as_deref())?.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.print_user_js {
        output::result(user_js(&service).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let firefox = args.binary.as_deref().map_or_else(Firefox::find, Firefox::at).map_err(explain)?;
    let folder = profile_folder(&args.profile, FOLDER)?;
    let starts = !args.fresh && !args.prepare;
    if starts && (is_profile(&folder) || is_adopted(&folder)) {
        check_later(&service, ca.as_deref());
    } else {
        check(&service, ca.as_deref())?;
    }
    let lock = match start_lock(&folder, starts)? {
        Start::Free(lock) => Some(lock),
        Start::Runs(process, lock) if starts => {
            status(&format!("a Firefox (process {process}) works with the profile: it opens the window"));
            return starts_now(firefox.command_for(&folder), args, lock);
        }
        // `prepare` refuses the profile.
        Start::Runs(..) => None,
    };
    if starts && is_adopted(&folder) {
        // An everyday profile has its settings from `doorbell desktop install`.
        return starts_now(firefox.command_for(&folder), args, lock);
    }
    let preparation = Preparation { service: &service, ca: ca.as_deref(), folder: &folder, fresh: args.fresh };
    let profile = firefox.prepare(&preparation, notify).map_err(explain)?;
    if args.prepare {
        output::result(profile.folder().display())?;
        return Ok(ExitCode::SUCCESS);
    }
    status(&format!("{} receives from {}", profile.folder().display(), server_url(&service)));
    register(Browser::Firefox, firefox.program(), profile.folder(), &service);
    starts_now(firefox.command(&profile), args, lock)
}

/// Puts Firefox into the place of this process.
fn starts_now(mut command: Command, args: &Args, lock: Option<StartLock>) -> Result<ExitCode> {
    command.args(&args.rest);
    // Held until Firefox ends, or has handed its page over: until then `doorbell desktop` neither wakes nor ends one.
    let _lock = lock.map(StartLock::hand_on).transpose()?;
    Err(explain(replace_this_process(command)))
}

/// What a start finds.
enum Start {
    /// No Firefox works with the profile, and no other process starts one.
    Free(StartLock),
    /// This process does, a Firefox. The lock is free if a desktop part has started that one.
    Runs(u32, Option<StartLock>),
}

/// Waits until no other process starts a Firefox with this profile. With `pages` a Firefox that runs must take pages by
/// then: a second start would show "already running, but is not responding" until it does.
fn start_lock(folder: &Path, pages: bool) -> Result<Start> {
    for _ in 0..LOCK_CHECKS_MAX {
        // A Firefox that a user has started keeps the lock until it ends.
        let (lock, process) = (StartLock::try_take(folder)?, process_of(folder));
        match (lock, process) {
            (Some(lock), None) => return Ok(Start::Free(lock)),
            (lock, Some(process)) if takes_pages(folder, process) => return Ok(Start::Runs(process, lock)),
            (lock, Some(process)) if !is_woken(process) => {
                if pages && !shares_pages(process) {
                    let folder = folder.to_owned();
                    return Err(explain(BrowserError::ProfileInUse { browser: "Firefox", process, folder }));
                }
                if !pages || has_started(folder) {
                    return Ok(Start::Runs(process, lock));
                }
            }
            _ => {}
        }
        std::thread::sleep(LOCK_CHECK_INTERVAL);
    }
    match process_of(folder) {
        Some(process) => bail!(
            "a Firefox (process {process}) works with the profile {} and does not take a page: close it first",
            folder.display()
        ),
        None => bail!("another process starts a Firefox with the profile {}: try again", folder.display()),
    }
}

/// Starts one next to this process, with the profile `named`, at `page`; and what keeps that profile reachable.
pub(crate) fn open(url: &str, ca: Option<&Path>, named: &Path, page: &str) -> Result<Opened> {
    let (service, firefox) = (PushService::parse(url)?, Firefox::find().map_err(explain)?);
    let folder = profile_folder(named, FOLDER)?;
    let lock = match start_lock(&folder, false)? {
        Start::Free(lock) => Some(lock),
        // `prepare` refuses the profile.
        Start::Runs(..) => None,
    };
    let preparation = Preparation { service: &service, ca, folder: &folder, fresh: false };
    let profile = firefox.prepare(&preparation, notify).map_err(explain)?;
    let mut command = firefox.command(&profile);
    // Without --no-remote a window of another profile would open the page.
    command.arg("--no-remote").arg(private_page(&folder, page)?.as_str());
    // Firefox inherits it, and holds it until it ends.
    let lock = lock.map(StartLock::hand_on).transpose()?;
    let mut process = Started::start("Firefox", command).map_err(explain)?;
    drop(lock);
    process.comes_up(|| process_of(&folder).is_some()).map_err(explain)?;
    let program = firefox.program().to_owned();
    let profile = ProfileConfig { browser: Browser::Firefox, folder, program, mode: Mode::Woken };
    Ok(Opened { process, profile })
}
