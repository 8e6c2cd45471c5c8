//! An everyday profile: one that Doorbell has not prepared, and that the user works with.

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;

use anyhow::{Result, bail};
use doorbell_browsers::firefox::is_firefox_profile;
use doorbell_browsers::{Firefox, Preparation, PushService};
use doorbell_desktop::install::Installation;
use doorbell_desktop::{Browser, ProfileConfig, StartLock};

use crate::browser::{explain, notify, status};

/// Whether `profile` is one.
pub(super) fn is(profile: &ProfileConfig) -> bool {
    profile.browser == Browser::Firefox
        && !profile.browser.is_profile(&profile.folder)
        && is_firefox_profile(&profile.folder)
}

/// Refuses a folder that cannot be a profile here.
pub(super) fn check(profile: &ProfileConfig) -> Result<()> {
    let folder = &profile.folder;
    let is_used = folder.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if !is_used || profile.browser.is_profile(folder) || is(profile) {
        return Ok(());
    }
    if profile.browser == Browser::Chromium {
        bail!(
            "{} is not a profile of `doorbell chromium`: started by its own icon, without our switches, it would show \
             Google the secret that it has from this service. An administrator sets the switches for every Chromium of the \
             machine: `doorbell desktop install --system`",
            folder.display()
        );
    }
    bail!("{} holds something that is not a profile of Firefox: name another folder", folder.display());
}

/// Asks the user, unless they have agreed with `yes`.
pub(super) fn agreed(profiles: &[ProfileConfig], service: &PushService, yes: bool) -> Result<()> {
    for profile in profiles.iter().filter(|profile| is(profile)) {
        let warning = format!(
            "{}: this Firefox will receive from {service} and no other push service: the sites that notify it now by \
             another one stop doing so until they subscribe again, which most do at the next visit",
            profile.folder.display()
        );
        status(&warning);
        if yes {
            continue;
        }
        if !io::stdin().is_terminal() {
            bail!("an everyday profile is changed only with --yes");
        }
        status("write `yes` to go on:");
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if answer.trim() != "yes" {
            bail!("nothing was changed");
        }
    }
    Ok(())
}

/// Writes our settings into the profile.
pub(super) fn adopt(
    installation: &mut Installation,
    profile: &ProfileConfig,
    service: &PushService,
    ca: Option<&Path>,
) -> Result<()> {
    let folder = &profile.folder;
    installation.adopts(folder)?;
    let Some(_lock) = StartLock::try_take(folder)? else {
        bail!("{}: a Firefox starts with it: close it first", folder.display());
    };
    let preparation = Preparation { service, ca, folder, fresh: false };
    Firefox::at(&profile.program).and_then(|firefox| firefox.adopt(&preparation, notify)).map_err(explain)
}

/// Takes our settings out of the everyday profiles that are no longer named.
pub(super) fn release_others(installation: &mut Installation, profiles: &[ProfileConfig]) -> Result<()> {
    let others: Vec<_> = installation.adopted().to_vec();
    for folder in others.iter().filter(|folder| !profiles.iter().any(|profile| profile.folder == **folder)) {
        installation.releases(folder).map_err(super::explained)?;
        status(&format!("{}: our settings are taken out", folder.display()));
    }
    Ok(())
}
