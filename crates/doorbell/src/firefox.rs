//! `doorbell firefox`: starts the user's own Firefox with a profile whose push service is ours.

mod marionette;
mod policies;
mod prefs;
mod profile;
mod trust;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};

use anyhow::{Context, Result};

use crate::browser::{Door, Make, Profile, Program, status};
use crate::state::local_ca;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The push service: its address
    #[arg(env = "DOORBELL_URL", default_value = "https://127.0.0.1:8443")]
    url: String,

    /// The profile that Firefox works with: a name, kept in the state directory, or a folder (with a slash)
    #[arg(long, value_name = "NAME|DIR", default_value = "doorbell")]
    profile: PathBuf,

    /// Begin the profile anew: its subscriptions, cookies and settings are deleted
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

    /// What Firefox gets after its profile: a page to open, or its own flags
    #[arg(last = true, value_name = "FIREFOX-ARGS")]
    rest: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  doorbell firefox                                  try the service on this machine, in a profile of its own
  doorbell firefox --fresh -- http://localhost:8000/
  doorbell firefox https://push.example.org --profile ./trial
  doorbell firefox --prepare                        for a test that starts Firefox itself: prints the folder
  doorbell firefox https://push.example.org --print-policies > /etc/firefox/policies/policies.json

Messages come while this Firefox runs, whatever pages are open; the service keeps them for it meanwhile. Settings that
doorbell writes into the profile are in its user.js, each with its reason. Your other profiles are left alone.";

const FIREFOX: Make = Make {
    name: "Firefox",
    programs: &["firefox-esr", "firefox"],
    install: "install the package firefox-esr (Debian) or firefox (others)",
};

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let door = Door::parse(&args.url)?;
    let ca = args.ca.clone().or_else(|| local_ca(&args.url)).filter(|_| !door.is_plain());
    if args.print_policies {
        print!("{}", policies::json(&door, ca.as_deref())?);
        return Ok(ExitCode::SUCCESS);
    }
    if args.print_user_js {
        print!("{}", prefs::user_js(&prefs::push(&door)));
        return Ok(ExitCode::SUCCESS);
    }
    let firefox = Program::find(&FIREFOX, args.binary.as_deref())?;
    door.answers(ca.as_deref())?;
    let profile = prepare(&args.profile, args.fresh, &door, &firefox, ca.as_deref())?;
    if args.prepare {
        println!("{}", profile.folder().display());
        return Ok(ExitCode::SUCCESS);
    }
    status(&format!("{} takes its messages from {}", profile.folder().display(), prefs::server_url(&door)));
    let mut command = firefox.command();
    command.arg("--profile").arg(profile.folder()).args(&args.rest);
    Err(firefox.become_it(command))
}

/// Starts one beside this process, with the profile `named`, at `page`.
pub(crate) fn open(url: &str, ca: Option<&Path>, named: &Path, page: &str) -> Result<Child> {
    let (door, firefox) = (Door::parse(url)?, Program::find(&FIREFOX, None)?);
    let profile = prepare(named, false, &door, &firefox, ca.filter(|_| !door.is_plain()))?;
    let mut command = firefox.command();
    // Else another profile's window would take the page.
    command.args(["--no-remote", "--profile"]).arg(profile.folder()).arg(page);
    firefox.start(command)
}

/// The profile, with our settings and our trust in it.
fn prepare(named: &Path, fresh: bool, door: &Door, firefox: &Program, ca: Option<&Path>) -> Result<Profile> {
    let profile = profile::open(named, fresh)?;
    let mut prefs = prefs::push(door);
    prefs.extend(prefs::trying_out());
    profile.write(profile::USER_JS, prefs::user_js(&prefs).as_bytes())?;
    if let Some(file) = ca {
        let pem = std::fs::read(file).with_context(|| format!("cannot read the CA file {}", file.display()))?;
        if !profile::trusts(&profile, &pem) {
            status("teaching the profile to trust the service's certificate: Firefox runs unseen for some seconds");
            trust::teach(firefox, &profile, &pem)?;
            profile::remember_trust(&profile, &pem)?;
        }
    }
    Ok(profile)
}
