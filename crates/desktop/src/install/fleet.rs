//! The files for all users of a machine, which an administrator or a package installs.

use std::path::{Path, PathBuf};

use super::record::{Content, Planned};
use super::{UNIT, texts};
use crate::error::DesktopError;
use crate::firefox::{names_another_script, system_files};
use crate::settings::Settings;

/// What the browsers of all users are set to.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The policies of Firefox: the push service, locked.
    pub firefox_policies: String,
    /// The switches of Chromium, for the launcher of Debian.
    pub chromium_flags: String,
    /// The policies of Chromium.
    pub chromium_policies: String,
}

/// The files below `root` that start `program` with each session, and set the browsers.
pub fn plan_for_all(
    root: &Path,
    program: &Path,
    settings: &Settings,
    fleet: &Fleet,
) -> Result<Vec<Planned>, DesktopError> {
    let prefs = root.join("etc/firefox/defaults/pref");
    if names_another_script(&prefs) {
        let reason = "a file in it names a script for Firefox already (general.config.filename), and Firefox runs one only: \
            take doorbell.cfg into that script by hand, or do without it";
        return Err(DesktopError::refused(&prefs, reason));
    }
    let text = |path: &str, text: String| Planned { path: root.join(path), content: Content::Public(text) };
    let unit = format!("etc/systemd/user/{UNIT}");
    let wants = root.join("etc/systemd/user/graphical-session.target.wants").join(UNIT);
    let mut planned: Vec<Planned> = system_files()
        .iter()
        .map(|(name, contents)| text(&format!("etc/firefox/{name}"), (*contents).to_owned()))
        .collect();
    planned.extend([
        text("etc/firefox/policies/policies.json", fleet.firefox_policies.clone()),
        text("etc/chromium.d/doorbell", fleet.chromium_flags.clone()),
        text("etc/chromium/policies/managed/doorbell.json", fleet.chromium_policies.clone()),
        text("etc/xdg/doorbell/desktop.toml", settings.text()?),
        text("etc/xdg/autostart/doorbell-desktop.desktop", texts::autostart(program)?),
        text(&unit, texts::unit(program)?),
        Planned { path: wants, content: Content::Link(Path::new("..").join(UNIT)) },
    ]);
    Ok(planned)
}

/// Where the record of such an installation is.
pub(super) fn record(root: &Path) -> PathBuf {
    root.join("etc/doorbell/desktop-installed.json")
}
