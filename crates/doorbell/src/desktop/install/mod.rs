//! `doorbell desktop install`.

mod everyday;
mod system;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use doorbell_browsers::{BrowserError, Chromium, Firefox, Preparation, PushService};
use doorbell_desktop::control::{Client, socket};
use doorbell_desktop::install::{
    Content, Installation, MenuEntry, Places, Planned, check_browser, manager, plan, plan_everyday,
};
use doorbell_desktop::program;
use doorbell_desktop::settings::Settings;
use doorbell_desktop::{Browser, DesktopError, ProfileConfig, StartLock};
use doorbell_protocol::headers::urgency::Urgency;
use url::Url;

use crate::browser::{check, explain, notify, status};
use crate::desktop::profiles::{Named, settings_of};
use crate::desktop::run::{DEBUG_PORT, LOCAL};
use crate::desktop::{explained, places, service_url};
use crate::output;
use crate::state::local_ca;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(super) struct Args {
    /// The push service: its address
    #[arg(env = "DOORBELL_URL", default_value = LOCAL, value_parser = service_url)]
    url: Url,

    #[command(flatten)]
    named: Named,

    /// Leave messages below this urgency at the service until the browser runs: very-low, low, normal or high
    #[arg(long, value_name = "LEVEL", default_value = "normal")]
    urgency: Urgency,

    /// Trust the certificate authorities in this file too (PEM) [default: the one that `doorbell serve` made, for a service on this machine]
    #[arg(long, value_name = "FILE", env = "DOORBELL_CA")]
    ca: Option<PathBuf>,

    /// Write our settings into an everyday profile without asking: its subscriptions at other push services end
    #[arg(long)]
    yes: bool,

    /// Wake a Firefox that is not an ESR too: headless, with a debug port that every user of this machine can use meanwhile
    #[arg(long)]
    allow_debug_port: bool,

    /// Install for all users of this machine, as root: their browsers receive from this service, and cannot change that
    #[arg(long, conflicts_with_all = ["firefox", "chromium", "stay", "chromium_ends", "yes", "allow_debug_port"])]
    system: bool,

    /// Write the files of --system below this folder, for a package or an image
    #[arg(long, value_name = "DIR", default_value = "/", requires = "system", hide_default_value = true)]
    root: PathBuf,

    /// Only print the files that would be written
    #[arg(long)]
    print: bool,
}

const EXAMPLES: &str = "\
Examples:
  doorbell desktop install                   the service on this machine
  doorbell desktop install https://push.example.org
  doorbell desktop install https://push.example.org --firefox work --stay
  doorbell desktop install https://push.example.org \\
      --firefox ~/.mozilla/firefox/abc.default-esr    an everyday profile
  doorbell desktop install https://push.example.org --system
  doorbell desktop install --print           show the files, and write nothing

It writes a unit of your systemd and an autostart file, so that the desktop part starts with each session, and an entry \
of the menu that starts the browser. Without --firefox it is Doorbell's own profile, which it creates. A second \
installation replaces the first.

An everyday profile, a folder that Doorbell has not prepared, gets a marked block in its user.js. It has one push \
service: what its pages have subscribed to at Mozilla's ends.";

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let service = PushService::parse(args.url.as_str())?;
    let ca = args.ca.clone().or_else(|| local_ca(args.url.as_str())).map(std::path::absolute).transpose()?;
    if args.system {
        return system::run(args, &service, ca);
    }
    program::find().map_err(explained)?;
    let allow = args.allow_debug_port;
    let profiles = if args.named.is_empty() { args.named.defaults(allow, status)? } else { args.named.profiles()? };
    for profile in &profiles {
        check_browser(profile, allow).map_err(explained)?;
        everyday::check(profile)?;
    }
    let places = places()?;
    let planned = files(args, &places, ca.clone(), &profiles)?;
    let mut installation = Installation::of(&places)?;
    if args.print {
        planned.iter().try_for_each(print)?;
        return Ok(ExitCode::SUCCESS);
    }
    installation.check(&planned)?;
    if allow {
        status(DEBUG_PORT);
    }
    everyday::agreed(&profiles, &service, args.yes)?;
    answers(&service, ca.as_deref())?;
    everyday::release_others(&mut installation, &profiles)?;
    for profile in &profiles {
        prepare(&mut installation, profile, &service, ca.as_deref())?;
    }
    installation.put(&planned)?;
    for planned in &planned {
        status(&format!("wrote {}", planned.path.display()));
    }
    start(&places)?;
    Ok(ExitCode::SUCCESS)
}

/// What is written: settings, unit, autostart and the entries of the menu.
fn files(args: &Args, places: &Places, ca: Option<PathBuf>, profiles: &[ProfileConfig]) -> Result<Vec<Planned>> {
    let program = env::current_exe().context("cannot find the program of this process")?;
    let settings = Settings {
        url: args.url.clone(),
        ca: ca.clone(),
        urgency: args.urgency,
        allow_debug_port: args.allow_debug_port,
        state: Some(places.state().to_owned()),
        profiles: profiles.iter().map(settings_of).collect(),
    };
    let mut menu: Vec<MenuEntry> = Vec::new();
    let mut in_place = None;
    for profile in profiles {
        let entry = entry(&program, &args.url, ca.as_deref(), profile, &menu);
        if everyday::is(profile) && in_place.is_none() {
            in_place = plan_everyday(places, &entry)?;
            if in_place.is_some() {
                continue;
            }
        }
        menu.push(entry);
    }
    let mut planned = plan(places, &program, &settings, &menu)?;
    planned.extend(in_place);
    Ok(planned)
}

/// The entry of the menu that starts the browser with this profile: with the start lock, as a click on an icon must.
fn entry(program: &Path, url: &Url, ca: Option<&Path>, profile: &ProfileConfig, others: &[MenuEntry]) -> MenuEntry {
    let (verb, icon) = match profile.browser {
        Browser::Firefox => ("firefox", "firefox-esr"),
        _ => ("chromium", "chromium"),
    };
    let known = profile.folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let known: String = known.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    let (mut file, mut name) = (format!("doorbell-{verb}"), format!("{} (Doorbell)", profile.browser));
    if known != "doorbell" && !known.is_empty() {
        (file, name) = (format!("{file}-{known}"), format!("{} (Doorbell, {known})", profile.browser));
    }
    let count = others.iter().filter(|other| other.file.starts_with(&file)).count();
    if count > 0 {
        (file, name) = (format!("{file}-{}", count + 1), format!("{name} {}", count + 1));
    }
    let mut words: Vec<OsString> = vec![program.into(), verb.into(), url.as_str().into()];
    words.extend(["--profile".into(), profile.folder.clone().into()]);
    words.extend(["--binary".into(), profile.program.clone().into()]);
    words.extend(ca.into_iter().flat_map(|ca| ["--ca".into(), ca.into()]));
    words.push("--".into());
    MenuEntry { file, name, icon, words }
}

/// Checks the service. One that does not answer now may do later: an installation is for a long time.
fn answers(service: &PushService, ca: Option<&Path>) -> Result<()> {
    match service.check(ca) {
        Err(error @ BrowserError::Unreachable { .. }) => {
            status(&format!("{error}; it is tried again and again"));
            Ok(())
        }
        _ => check(service, ca),
    }
}

/// Prepares a profile, and notes whether it was created for that.
fn prepare(
    installation: &mut Installation,
    profile: &ProfileConfig,
    service: &PushService,
    ca: Option<&Path>,
) -> Result<()> {
    let folder = &profile.folder;
    if everyday::is(profile) {
        return everyday::adopt(installation, profile, service, ca);
    }
    installation.creates(profile.browser, folder)?;
    let Some(_lock) = StartLock::try_take(folder)? else {
        return in_use(profile, &format!("a {} works with it, or starts", profile.browser));
    };
    let preparation = Preparation { service, ca, folder, fresh: false };
    let prepared = match profile.browser {
        Browser::Firefox => Firefox::at(&profile.program).and_then(|firefox| firefox.prepare(&preparation, notify)),
        Browser::Chromium => {
            Chromium::at(&profile.program).and_then(|chromium| chromium.prepare(&preparation, &[], notify))
        }
        other => bail!("{other} cannot be installed"),
    };
    match prepared {
        Ok(_) => Ok(installation.prepared(folder)?),
        Err(error @ BrowserError::ProfileInUse { .. }) => in_use(profile, &error.to_string()),
        Err(error) => Err(explain(error)),
    }
}

/// A profile that a browser works with was prepared before, or cannot be now.
fn in_use(profile: &ProfileConfig, why: &str) -> Result<()> {
    if !profile.browser.is_profile(&profile.folder) {
        bail!("{}: {why}: close it first", profile.folder.display());
    }
    status(&format!("{}: {why}: its settings stay as they are", profile.folder.display()));
    Ok(())
}

fn print(planned: &Planned) -> Result<()> {
    output::result(format_args!("==> {}", planned.path.display()))?;
    match &planned.content {
        Content::Public(text) | Content::Private(text) => output::result(text),
        Content::Link(target) => output::result(format_args!("a link to {}\n", target.display())),
    }
}

/// Starts it, or prints when it starts.
fn start(places: &Places) -> Result<()> {
    if manager::reload() && manager::restart() {
        status("it runs from now on, and starts with each session: see `doorbell desktop status`");
        return Ok(());
    }
    match Client::connect(&socket(places.state())) {
        Ok(Some(client)) => {
            let process = client.process();
            status(&format!(
                "a desktop part runs with the settings from before: `kill {process}`, and start `doorbell desktop run`"
            ));
        }
        Ok(None) => status("it starts with your next session; now: `doorbell desktop run`"),
        Err(error) => return Err(DesktopError::into(error)),
    }
    Ok(())
}
