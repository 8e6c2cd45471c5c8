//! The profiles that a command line or the settings name.

use std::path::{Path, PathBuf};

use anyhow::Result;
use doorbell_browsers::Firefox;
use doorbell_browsers::firefox::FOLDER;
use doorbell_desktop::settings::ProfileSettings;
use doorbell_desktop::{Browser, Mode, ProfileConfig};

use crate::browser::{explain, profile_folder};

/// Flags that name profiles.
#[derive(clap::Args)]
pub(super) struct Named {
    /// A profile of `doorbell firefox` that is woken: its name, or its folder (with a slash); may be repeated
    #[arg(long, value_name = "NAME|DIR")]
    pub(super) firefox: Vec<PathBuf>,

    /// The Firefox ESR to wake [default: firefox-esr or firefox, whichever is on the PATH]
    #[arg(long, value_name = "FILE")]
    pub(super) binary: Option<PathBuf>,

    /// Keep the browsers running without a window: a notification appears at once, and the memory stays in use
    #[arg(long)]
    pub(super) stay: bool,
}

impl Named {
    /// Whether any is named.
    pub(super) fn is_empty(&self) -> bool {
        self.firefox.is_empty()
    }

    /// All of them.
    pub(super) fn profiles(&self) -> Result<Vec<ProfileConfig>> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let program = self.firefox_program()?;
        self.firefox.iter().map(|named| self.firefox_profile(named, &program)).collect()
    }

    /// Doorbell's own ones, for each browser that is installed.
    pub(super) fn defaults(&self) -> Result<Vec<ProfileConfig>> {
        let program = self.firefox_program()?;
        Ok(vec![self.firefox_profile(Path::new("doorbell"), &program)?])
    }

    fn firefox_program(&self) -> Result<PathBuf> {
        let firefox = self.binary.as_deref().map_or_else(Firefox::find, Firefox::at).map_err(explain)?;
        Ok(std::path::absolute(firefox.program())?)
    }

    fn firefox_profile(&self, named: &Path, program: &Path) -> Result<ProfileConfig> {
        let mode = if self.stay { Mode::Resident } else { Mode::Woken };
        let folder = profile_folder(named, FOLDER)?;
        Ok(ProfileConfig { browser: Browser::Firefox, folder, program: program.to_owned(), mode })
    }
}

/// A profile of the settings.
pub(super) fn of_settings(profile: ProfileSettings) -> Result<ProfileConfig> {
    let ProfileSettings { browser, folder, mode, binary } = profile;
    let program = match (binary, browser) {
        (Some(binary), _) => binary,
        (None, _) => Firefox::find().map_err(explain)?.program().to_owned(),
    };
    Ok(ProfileConfig { browser, folder, program, mode })
}

/// The same, as the settings have it.
pub(super) fn settings_of(profile: &ProfileConfig) -> ProfileSettings {
    let ProfileConfig { browser, folder, program, mode } = profile.clone();
    ProfileSettings { browser, folder, mode, binary: Some(program) }
}
