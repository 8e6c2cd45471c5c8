//! `doorbell chromium`: starts the user's own Chromium with a profile whose push service is ours.

mod extension;
mod origin;
mod policies;
mod preferences;
mod profile;
mod switches;
mod trust;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};

use anyhow::{Context, Result};

use crate::browser::{Door, Make, Profile, Program, status};
use crate::shell::quoted;
use crate::state::local_ca;
use origin::Origin;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The push service: its address
    #[arg(env = "DOORBELL_URL", default_value = "https://127.0.0.1:8443")]
    url: String,

    /// The profile that Chromium works with: a name, kept in the state directory, or a folder (with a slash)
    #[arg(long, value_name = "NAME|DIR", default_value = "doorbell")]
    profile: PathBuf,

    /// Begin the profile anew: its subscriptions, cookies and settings are deleted
    #[arg(long)]
    fresh: bool,

    /// The Chromium to start [default: chromium, chromium-browser, google-chrome-stable or google-chrome, the first on the PATH]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Make the profile trust this certificate authority (PEM) [default: the one that `doorbell serve` made, for a service on this machine]
    #[arg(long, value_name = "FILE", env = "DOORBELL_CA")]
    ca: Option<PathBuf>,

    /// A web site that may show notifications without being asked about it (may be repeated); the others ask
    #[arg(long, value_name = "ORIGIN")]
    allow: Vec<Origin>,

    /// Load an extension by which pages see this service in their endpoints, for sites whose backend you cannot change
    #[arg(long)]
    rewrite_endpoints: bool,

    /// Only prepare the profile, and print the command that starts Chromium, for a shell
    #[arg(long)]
    prepare: bool,

    /// Print the policies for many machines, and start nothing
    #[arg(long, conflicts_with_all = ["prepare", "print_flags"])]
    print_policies: bool,

    /// Print the line for /etc/chromium.d that gives every Chromium of a Debian machine its push service, and start nothing
    #[arg(long, conflicts_with = "prepare")]
    print_flags: bool,

    /// What Chromium gets after its profile: a page to open, or its own switches
    #[arg(last = true, value_name = "CHROMIUM-ARGS")]
    rest: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  doorbell chromium                                 try the service on this machine, in a profile of its own
  doorbell chromium --fresh --allow http://localhost:8000 -- http://localhost:8000/
  doorbell chromium https://push.example.org --profile ./trial
  doorbell chromium --prepare                       for a test that starts Chromium itself: prints the command
  doorbell chromium https://push.example.org --print-flags > /etc/chromium.d/doorbell
  doorbell chromium https://push.example.org --allow https://app.example.org --print-policies \\
    > /etc/chromium/policies/managed/doorbell.json

Messages come while this Chromium runs, whatever pages are open; the service keeps them for it meanwhile. The address of a
subscription still names a host of Google's, which is compiled into Chromium: whoever sends to it puts this service's
origin in its place and keeps the path. For sites that cannot be changed, --rewrite-endpoints does it in the browser.
Everything else that Google sends to a profile by this way, such as news of its sync, does not come any more. Your other
profiles are left alone.";

const CHROMIUM: Make = Make {
    name: "Chromium",
    programs: &["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"],
    install: "install the package chromium",
};

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let door = Door::parse(&args.url)?;
    let switches = switches::push(&door)?;
    let ca = args.ca.clone().or_else(|| local_ca(&args.url));
    if args.print_policies {
        print!("{}", policies::json(&args.allow, ca.as_deref())?);
        status(
            "policies cannot name the push service: put what --print-flags prints into /etc/chromium.d/doorbell (Debian)",
        );
        return Ok(ExitCode::SUCCESS);
    }
    if args.print_flags {
        print!("{}", switches::for_all(&switches));
        status(
            "this redirects push, and all else that Google sends that way, for every profile that there is: what a profile has subscribed to elsewhere is lost. To go back, delete the file and each profile's folder `GCM Store`. Certificates and permissions are for --print-policies",
        );
        return Ok(ExitCode::SUCCESS);
    }
    let chromium = Program::find(&CHROMIUM, args.binary.as_deref())?;
    door.answers(ca.as_deref())?;
    let profile = prepare(&args.profile, args.fresh, &args.allow, &door, ca.as_deref())?;
    let mut command = chromium.command();
    if args.rewrite_endpoints {
        command.arg(extension::install(&profile, &door.origin())?);
    }
    command.arg(switches::profile(profile.folder())).args(switches).args(switches::TRYING_OUT).args(&args.rest);
    if args.prepare {
        println!("{}", line(&command)?);
        return Ok(ExitCode::SUCCESS);
    }
    status(&format!("{} takes its messages from {}, and none from Google", profile.folder().display(), door.origin()));
    Err(chromium.become_it(command))
}

/// Starts one beside this process, with the profile `named`, at `page`. It asks before the page may notify.
pub(crate) fn open(url: &str, ca: Option<&Path>, named: &Path, page: &str) -> Result<Child> {
    let door = Door::parse(url)?;
    let (switches, chromium) = (switches::push(&door)?, Program::find(&CHROMIUM, None)?);
    let profile = prepare(named, false, &[], &door, ca)?;
    let mut command = chromium.command();
    command.arg(switches::profile(profile.folder())).args(switches).args(switches::TRYING_OUT).arg(page);
    chromium.start(command)
}

/// The profile, with our trust and the permissions in it.
fn prepare(named: &Path, fresh: bool, allow: &[Origin], door: &Door, ca: Option<&Path>) -> Result<Profile> {
    let profile = profile::open(named, fresh)?;
    profile::belongs_to(&profile, &door.origin())?;
    if let Some(file) = ca {
        let pem = std::fs::read(file).with_context(|| format!("cannot read the CA file {}", file.display()))?;
        if trust::add(&profile, &pem)? {
            status(&format!("the profile trusts the CA in {} from now on; no other profile does", file.display()));
        }
    }
    preferences::allow(&profile, allow)?;
    Ok(profile)
}

/// The command for a shell.
fn line(command: &Command) -> Result<String> {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words = words.map(|word| word.to_str().map(quoted).context("a word of the command is not text"));
    Ok(words.collect::<Result<Vec<_>>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_printed_so_that_a_shell_takes_it_apart_again() {
        let mut command = Command::new("/opt/my chromium");
        command.args(["--user-data-dir=/home/o'brien", "$HOME"]);
        assert_eq!(line(&command).unwrap(), r"'/opt/my chromium' '--user-data-dir=/home/o'\''brien' '$HOME'");
    }
}
