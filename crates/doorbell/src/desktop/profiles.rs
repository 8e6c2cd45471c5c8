//! The profiles that a command line or the settings name.

use std::path::PathBuf;

use anyhow::{Result, bail};
use doorbell_browsers::{BrowserError, Chromium, Firefox, chromium, firefox};
use doorbell_desktop::install::check_browser;
use doorbell_desktop::settings::ProfileSettings;
use doorbell_desktop::{Browser, DesktopError, Mode, ProfileConfig};

use crate::browser::{explain, profile_folder};

/// Flags that name profiles.
#[derive(clap::Args)]
pub(super) struct Named {
    /// A profile of `doorbell firefox` that is woken: its name, or its folder (with a slash); may be repeated
    #[arg(long, value_name = "NAME|DIR")]
    firefox: Vec<PathBuf>,

    /// A profile of `doorbell chromium` that is kept reachable: its name, or its folder (with a slash); may be repeated
    #[arg(long, value_name = "NAME|DIR")]
    chromium: Vec<PathBuf>,

    /// Start the Firefoxes without a window now, and let them stay: messages then take a fraction of a second, and memory
    #[arg(long, alias = "firefox-stays")]
    stay: bool,

    /// End the Chromiums when nothing is left to do, and wake them, which takes seconds [default: they stay]
    #[arg(long)]
    chromium_ends: bool,

    /// The Firefox ESR to wake [default: firefox-esr or firefox, whichever is on the PATH]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// The Chromium to start [default: chromium, chromium-browser, google-chrome-stable or google-chrome, the first on the PATH]
    #[arg(long, value_name = "FILE")]
    chromium_binary: Option<PathBuf>,
}

/// The name of the profile that an installation creates.
const DEFAULT: &str = "doorbell";

impl Named {
    /// Whether any is named.
    pub(super) fn is_empty(&self) -> bool {
        self.firefox.is_empty() && self.chromium.is_empty()
    }

    /// All of them.
    pub(super) fn profiles(&self) -> Result<Vec<ProfileConfig>> {
        let mut profiles = Vec::new();
        if !self.firefox.is_empty() {
            profiles.extend(self.of_firefox(&self.firefox, self.find_firefox().map_err(explain)?)?);
        }
        if !self.chromium.is_empty() {
            profiles.extend(self.of_chromium(&self.chromium, self.find_chromium().map_err(explain)?)?);
        }
        Ok(profiles)
    }

    /// Doorbell's own ones, for each browser that is installed and can be woken; `notice` gets the reason for another.
    pub(super) fn defaults(&self, allow_debug_port: bool, notice: impl Fn(&str)) -> Result<Vec<ProfileConfig>> {
        let named = [PathBuf::from(DEFAULT)];
        let mut profiles = Vec::new();
        match self.find_firefox() {
            Ok(firefox) => {
                let [profile] = &self.of_firefox(&named, firefox)?[..] else { bail!("one name is one profile") };
                match check_browser(profile, allow_debug_port) {
                    Ok(()) => profiles.push(profile.clone()),
                    // What a weaker sandbox would need is for the user to decide.
                    Err(error @ DesktopError::WeakerSandbox { .. }) => return Err(error.into()),
                    Err(error) => notice(&error.to_string()),
                }
            }
            Err(BrowserError::NotInstalled { .. }) => {}
            Err(error) => return Err(explain(error)),
        }
        match self.find_chromium() {
            Ok(chromium) => profiles.extend(self.of_chromium(&named, chromium)?),
            Err(BrowserError::NotInstalled { .. }) => {}
            Err(error) => return Err(explain(error)),
        }
        if profiles.is_empty() {
            bail!(
                "neither a Firefox ESR nor a Chromium is on the PATH: install one, or name it with --binary or --chromium-binary"
            );
        }
        Ok(profiles)
    }

    fn find_firefox(&self) -> Result<PathBuf, BrowserError> {
        let firefox = self.binary.as_deref().map_or_else(Firefox::find, Firefox::at)?;
        Ok(firefox.program().to_owned())
    }

    fn find_chromium(&self) -> Result<PathBuf, BrowserError> {
        let chromium = self.chromium_binary.as_deref().map_or_else(Chromium::find, Chromium::at)?;
        Ok(chromium.program().to_owned())
    }

    fn of_firefox(&self, named: &[PathBuf], program: PathBuf) -> Result<Vec<ProfileConfig>> {
        let mode = if self.stay { Mode::Resident } else { Mode::Woken };
        all(named, Browser::Firefox, program, mode)
    }

    fn of_chromium(&self, named: &[PathBuf], program: PathBuf) -> Result<Vec<ProfileConfig>> {
        let mode = if self.chromium_ends { Mode::Woken } else { Mode::Resident };
        all(named, Browser::Chromium, program, mode)
    }
}

fn all(named: &[PathBuf], browser: Browser, program: PathBuf, mode: Mode) -> Result<Vec<ProfileConfig>> {
    let program = std::path::absolute(program)?;
    let of_browser = if browser == Browser::Firefox { firefox::FOLDER } else { chromium::FOLDER };
    let config = |named: &PathBuf| {
        Ok(ProfileConfig { browser, folder: profile_folder(named, of_browser)?, program: program.clone(), mode })
    };
    named.iter().map(config).collect()
}

/// A profile of the settings.
pub(super) fn profile_of(profile: ProfileSettings) -> Result<ProfileConfig> {
    let ProfileSettings { browser, folder, mode, binary } = profile;
    let program = match (binary, browser) {
        (Some(binary), _) => binary,
        (None, Browser::Chromium) => Chromium::find().map_err(explain)?.program().to_owned(),
        (None, _) => Firefox::find().map_err(explain)?.program().to_owned(),
    };
    Ok(ProfileConfig { browser, folder, program, mode })
}

/// The same, as the settings have it.
pub(super) fn settings_of(profile: &ProfileConfig) -> ProfileSettings {
    let ProfileConfig { browser, folder, program, mode } = profile.clone();
    ProfileSettings { browser, folder, mode, binary: Some(program) }
}
