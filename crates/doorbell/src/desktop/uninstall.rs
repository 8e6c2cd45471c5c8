//! `doorbell desktop uninstall`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use doorbell_browsers::chromium::reachable_extension;
use doorbell_browsers::firefox::is_firefox_profile;
use doorbell_desktop::control::{Client, socket};
use doorbell_desktop::install::{Installation, Places, manager};
use doorbell_desktop::settings::Settings;
use doorbell_desktop::{Browser, Mode, ProfileName};
use rustix::process::{Pid, Signal, kill_process};

use super::{explained, places};
use crate::browser::status;
use crate::shell::quoted;

/// How long a desktop part may take to end, and a browser.
const END_CHECKS_MAX: u32 = 200;
const BROWSER_END_CHECKS_MAX: u32 = 600;
const END_CHECK_INTERVAL: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Delete the profiles too that Doorbell has created: their subscriptions, cookies and settings are deleted
    #[arg(long)]
    profiles: bool,

    /// Take away what `install --system` has written, as root
    #[arg(long, conflicts_with = "profiles")]
    system: bool,

    /// The folder that was given to `install --system`
    #[arg(long, value_name = "DIR", default_value = "/", requires = "system", hide_default_value = true)]
    root: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  doorbell desktop uninstall
  doorbell desktop uninstall --profiles

It stops the desktop part and deletes all that `install` has written. A profile that a browser has worked with is kept \
and named, unless --profiles is given.";

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    if args.system {
        return for_all(&args.root);
    }
    let places = places()?;
    // Those that the user has added by hand are named too.
    let settings = Settings::read(&places.settings()).unwrap_or_else(|error| {
        status(&error.to_string());
        None
    });
    let mut installation = Installation::of(&places)?;
    if installation.is_empty() && settings.is_none() {
        status("nothing is installed");
    }
    manager::stop();
    end(&places)?;

    let named = names(settings, &installation);
    // Those that `doorbell chromium` has named to a desktop part.
    let reached = installation.reached()?.into_iter();
    let reached = reached.map(|folder| ProfileName { browser: Browser::Chromium, folder });
    let reached: Vec<_> = reached.filter(|name| !named.contains(name)).collect();
    let names = || named.iter().chain(&reached);
    names().try_for_each(end_browser)?;
    release(&mut installation)?;
    remove_files(&mut installation)?;
    manager::reload();
    for ProfileName { browser, folder } in &named {
        let adopted = is_firefox_profile(folder) && !browser.is_profile(folder);
        if !adopted && !installation.remove_profile(*browser, folder, args.profiles)? {
            let hint = if args.profiles {
                "it is in use, or not doorbell's".to_owned()
            } else {
                format!("`rm -r {}` deletes it", quoted(&folder.display().to_string()))
            };
            status(&format!("the {browser} profile {} is kept: {hint}", folder.display()));
        }
    }
    for ProfileName { browser, folder } in &reached {
        installation.remove_profile(*browser, folder, false)?;
        status(&format!("our extension is taken out of the Chromium profile {}", folder.display()));
    }
    installation.finish()?;
    status("it is uninstalled");
    Ok(ExitCode::SUCCESS)
}

/// Takes our settings out of everyday profiles.
fn release(installation: &mut Installation) -> Result<()> {
    for folder in installation.adopted().to_vec() {
        let known_authority = folder.join("doorbell-ca.pem").exists();
        installation.releases(&folder).map_err(explained)?;
        status(&format!("our settings are taken out of the Firefox profile {}", folder.display()));
        if known_authority {
            status("it still trusts the service's CA: Settings, Privacy & Security, View Certificates, Authorities");
        }
    }
    Ok(())
}

fn remove_files(installation: &mut Installation) -> Result<()> {
    for kept in installation.remove_files()? {
        status(&format!("{} is no longer doorbell's: it is kept", kept.display()));
    }
    Ok(())
}

/// Takes away the files for all users.
fn for_all(root: &Path) -> Result<ExitCode> {
    let mut installation = Installation::for_all(&std::path::absolute(root)?)?;
    if installation.is_empty() {
        status("nothing is installed for all users");
    }
    remove_files(&mut installation)?;
    installation.finish()?;
    status("it is uninstalled; a desktop part that runs goes on until the end of its session");
    Ok(ExitCode::SUCCESS)
}

/// The profiles of the settings, and those that the installation created: each once.
fn names(settings: Option<Settings>, installation: &Installation) -> Vec<ProfileName> {
    let of_settings = settings.into_iter().flat_map(|settings| settings.profiles);
    let of_settings = of_settings.map(|profile| ProfileName { browser: profile.browser, folder: profile.folder });
    let created = installation.profiles().iter();
    let created = created.map(|profile| ProfileName { browser: profile.browser, folder: profile.folder.clone() });
    let mut names: Vec<ProfileName> = Vec::new();
    for name in of_settings.chain(created) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Ends a browser that stays. An error for a woken one, which ends by itself, and for a Chromium of the user's out of whose
/// profile our extension is to be taken.
fn end_browser(ProfileName { browser, folder }: &ProfileName) -> Result<()> {
    let Some(process) = browser.process_of(folder) else { return Ok(()) };
    let Some(mode) = browser.started_as(folder, process) else {
        if *browser == Browser::Chromium && reachable_extension(folder).is_some() {
            bail!("a Chromium (process {process}) works with {}: quit it in its menu, and try again", folder.display());
        }
        return Ok(());
    };
    if mode == Mode::Woken {
        bail!(
            "a woken {browser} (process {process}) works with {}: close its windows and notifications, and try again",
            folder.display()
        );
    }
    status(&format!("the {browser} (process {process}) that stays with {} is closed", folder.display()));
    terminate(process).with_context(|| format!("cannot stop the {browser} (process {process})"))?;
    for _ in 0..BROWSER_END_CHECKS_MAX {
        if browser.process_of(folder) != Some(process) || browser.started_as(folder, process).is_none() {
            return Ok(());
        }
        std::thread::sleep(END_CHECK_INTERVAL);
    }
    bail!("the {browser} (process {process}) does not end: close it, and try again");
}

fn terminate(process: u32) -> Result<()> {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).context("it has no number")?;
    Ok(kill_process(process, Signal::TERM)?)
}

/// Ends the desktop part that runs, however it was started.
fn end(places: &Places) -> Result<()> {
    let socket = socket(places.state());
    let Some(client) = Client::connect(&socket)? else { return Ok(()) };
    terminate(client.process()).context("cannot stop the desktop part")?;
    for _ in 0..END_CHECKS_MAX {
        if Client::connect(&socket)?.is_none() {
            return Ok(());
        }
        std::thread::sleep(END_CHECK_INTERVAL);
    }
    bail!("the desktop part (process {}) does not end: `kill -9` it, and try again", client.process());
}
