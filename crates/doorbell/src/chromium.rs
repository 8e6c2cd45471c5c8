//! `doorbell chromium`: starts the user's own Chromium with a profile whose push service is ours.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use doorbell_browsers::chromium::{
    FOLDER, Origin, debian_flags, is_profile, mcs_of, policies, process_of, reachable_extension, rewrite_endpoints,
    service_of,
};
use doorbell_browsers::{Chromium, Preparation, PushService, Started, replace_this_process};
use doorbell_desktop::chromium::install_extension;
use doorbell_desktop::program;
use doorbell_desktop::{Browser, Mode, ProfileConfig, StartLock};

use crate::browser::{
    Opened, check, check_later, explain, notify, private_page, profile_folder, status, wait_for_start_lock,
};
use crate::desktop::register;
use crate::output;
use crate::shell::quoted;
use crate::state::local_ca;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Args {
    /// The push service: its address
    #[arg(env = "DOORBELL_URL", default_value = "https://127.0.0.1:8443")]
    url: String,

    /// Where Chromium's stream of messages is, if not at the service's address, as behind a proxy for HTTP; the profile keeps it
    #[arg(long, value_name = "HOST:PORT", env = "DOORBELL_MCS")]
    mcs: Option<String>,

    /// The profile that Chromium works with: a name, kept in the state directory, or a folder (with a slash)
    #[arg(long, value_name = "NAME|DIR", default_value = "doorbell")]
    profile: PathBuf,

    /// Delete the profile first: its subscriptions, cookies and settings are deleted
    #[arg(long)]
    fresh: bool,

    /// The Chromium to start [default: chromium, chromium-browser, google-chrome-stable or google-chrome, the first on the PATH]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Make the profile trust this certificate authority (PEM) [default: the one that `doorbell serve` made, for a service on this machine]
    #[arg(long, value_name = "FILE", env = "DOORBELL_CA")]
    ca: Option<PathBuf>,

    /// A web site that may show notifications without asking the user; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    allow: Vec<Origin>,

    /// Load an extension that puts this service into the endpoints of pages, for sites whose backend you cannot change
    #[arg(long)]
    rewrite_endpoints: bool,

    /// Only prepare the profile, and print the command that starts Chromium, for a shell
    #[arg(long)]
    prepare: bool,

    /// Print the policies for many machines, and start nothing
    #[arg(long, conflicts_with_all = ["prepare", "print_flags"])]
    print_policies: bool,

    /// Print the line for /etc/chromium.d that sets the push service of every Chromium on a Debian machine, and start nothing
    #[arg(long, conflicts_with = "prepare")]
    print_flags: bool,

    /// Passed to Chromium: a page to open, or its own switches
    #[arg(last = true, value_name = "CHROMIUM-ARGS")]
    rest: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  doorbell chromium                      the service on this machine
  doorbell chromium --fresh --allow http://localhost:8000 \\
      -- http://localhost:8000/
  doorbell chromium https://push.example.org --profile ./trial
  doorbell chromium https://push.example.org --mcs push.example.org:5228
                                         behind a proxy for HTTP
  doorbell chromium --prepare            for a test that starts Chromium itself
  doorbell chromium https://push.example.org --print-flags \\
      > /etc/chromium.d/doorbell
  doorbell chromium https://push.example.org --allow https://app.example.org \\
      --print-policies > /etc/chromium/policies/managed/doorbell.json

Messages arrive while this Chromium runs, whichever pages are open; the service keeps them until then. The address \
of a subscription still names a host of Google's, which is compiled into Chromium: a sender replaces its origin with \
this service's and keeps the path. For sites that cannot be changed, --rewrite-endpoints does it in the browser.

Everything else that Google sends to a profile on this connection, such as news of its sync, no longer arrives. Your \
other profiles are not touched.";

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let service = PushService::parse(&args.url)?;
    let service = match &args.mcs {
        Some(address) => service.with_mcs(address)?,
        None => service,
    };
    let ca = args.ca.clone().or_else(|| local_ca(&args.url));
    let flags = debian_flags(&service)?;
    if args.print_policies {
        output::result(policies(&args.allow, ca.as_deref())?.trim_end())?;
        status(
            "policies cannot name the push service: put what --print-flags prints into /etc/chromium.d/doorbell (Debian)",
        );
        return Ok(ExitCode::SUCCESS);
    }
    if args.print_flags {
        output::result(flags.trim_end())?;
        status(
            "this redirects push, and all else that Google sends on that connection, for every profile: what a profile has \
             subscribed to elsewhere is lost. To go back, delete the file and each profile's folder `GCM Store`. \
             Certificates and permissions are for --print-policies",
        );
        return Ok(ExitCode::SUCCESS);
    }
    let chromium = args.binary.as_deref().map_or_else(Chromium::find, Chromium::at).map_err(explain)?;
    let folder = profile_folder(&args.profile, FOLDER)?;
    if is_profile(&folder) && !args.fresh && !args.prepare {
        check_later(&service, ca.as_deref());
    } else {
        check(&service, ca.as_deref())?;
    }
    // Only a Chromium that a user has started keeps the lock. For a woken one the desktop part has it, which starts or ends
    // it: a page that is handed over meanwhile is lost.
    let lock = wait_for_start_lock(&folder, || {
        process_of(&folder).is_some_and(|process| Browser::Chromium.started_as(&folder, process) != Some(Mode::Woken))
    })?;
    if let Some(process) = process_of(&folder).filter(|_| args.is_only_a_page(&service, &folder)) {
        status(&format!("a Chromium (process {process}) works with the profile: it opens the window"));
        let mut command = chromium.command_for(&folder);
        command.args(&args.rest);
        // Until the page is handed over `doorbell desktop` does not end that Chromium.
        let _lock = lock.map(StartLock::hand_on).transpose()?;
        return Err(explain(replace_this_process(command)));
    }
    if reachable_extension(&folder).is_some() {
        // Without the program of the desktop part this Chromium works, but is not woken.
        if let Err(error) = program::find() {
            status(&error.to_string());
        }
        // This program may have been moved by an upgrade.
        install_extension(&folder)?;
    }
    let preparation = Preparation { service: &service, ca: ca.as_deref(), folder: &folder, fresh: args.fresh };
    let profile = chromium.prepare(&preparation, &args.allow, notify).map_err(explain)?;
    if !args.prepare {
        // It puts its extension into the profile.
        register(Browser::Chromium, chromium.program(), profile.folder(), &service);
    }
    let mut extensions: Vec<PathBuf> = reachable_extension(&folder).into_iter().collect();
    if args.rewrite_endpoints {
        extensions.push(rewrite_endpoints(&profile, &service)?);
    }
    let mut command = chromium.command(&profile, &service, &extensions)?;
    command.args(&args.rest);
    if args.prepare {
        output::result(line(&command)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    status(&format!("{} receives from {}, and nothing from Google", profile.folder().display(), service.origin()));
    // Held until Chromium ends: while it starts, `doorbell desktop` does not start another one.
    let _lock = lock.map(StartLock::hand_on).transpose()?;
    Err(explain(replace_this_process(command)))
}

impl Args {
    /// Whether a Chromium that works with the profile in `folder` can do what is asked for.
    fn is_only_a_page(&self, service: &PushService, folder: &Path) -> bool {
        let is_at_service =
            service_of(folder).is_ok_and(|known| known.is_some_and(|it| it.origin() == service.origin()));
        let is_as_before = self.mcs.is_none() || mcs_of(folder).is_ok_and(|known| known.as_deref() == service.mcs());
        is_at_service
            && is_as_before
            && !self.fresh
            && !self.prepare
            && !self.rewrite_endpoints
            && self.allow.is_empty()
    }
}

/// Starts one next to this process, with the profile `named`, at `page`; and what keeps that profile reachable. It asks
/// before the page may notify. Without the desktop part's extension it ends when its user closes it.
pub(crate) fn open(url: &str, ca: Option<&Path>, named: &Path, page: &str) -> Result<Opened> {
    let (service, chromium) = (PushService::parse(url)?, Chromium::find().map_err(explain)?);
    let folder = profile_folder(named, FOLDER)?;
    let lock = wait_for_start_lock(&folder, || process_of(&folder).is_some())?;
    let preparation = Preparation { service: &service, ca, folder: &folder, fresh: false };
    let profile = chromium.prepare(&preparation, &[], notify).map_err(explain)?;
    let mut command = chromium.command(&profile, &service, &[])?;
    command.arg(private_page(&folder, page)?.as_str());
    // Chromium inherits it, and holds it until it ends.
    let lock = lock.map(StartLock::hand_on).transpose()?;
    let mut process = Started::start("Chromium", command).map_err(explain)?;
    drop(lock);
    process.comes_up(|| process_of(&folder).is_some()).map_err(explain)?;
    let program = chromium.program().to_owned();
    Ok(Opened { process, profile: ProfileConfig { browser: Browser::Chromium, folder, program, mode: Mode::Woken } })
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
    fn a_printed_command_is_split_by_a_shell_into_the_same_words() {
        let mut command = Command::new("/opt/my chromium");
        command.args(["--user-data-dir=/home/o'brien", "$HOME"]);
        assert_eq!(line(&command).unwrap(), r"'/opt/my chromium' '--user-data-dir=/home/o'\''brien' '$HOME'");
    }
}
