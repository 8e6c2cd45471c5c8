//! What the desktop part knows of a browser's profile, whichever browser it is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use doorbell_browsers::{chromium as chromium_profile, firefox as firefox_profile};
use serde::{Deserialize, Serialize};

use crate::chromium;
use crate::firefox::{self, PREFS, uaid, woken_as};

/// A browser that can be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Browser {
    /// Firefox ESR.
    Firefox,
    /// Chromium.
    Chromium,
}

impl Browser {
    /// The verb of `doorbell` that starts it.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Firefox => "firefox",
            Self::Chromium => "chromium",
        }
    }

    /// The file of a profile that the browser writes whenever it runs.
    pub(crate) fn settings_file(self) -> &'static str {
        match self {
            Self::Firefox => "prefs.js",
            Self::Chromium => "Local State",
        }
    }

    /// Whether `folder` holds a profile of this browser that Doorbell has prepared.
    pub fn is_profile(self, folder: &Path) -> bool {
        match self {
            Self::Firefox => firefox_profile::is_profile(folder),
            Self::Chromium => chromium_profile::is_profile(folder),
        }
    }

    /// Whether `folder` holds a profile of this browser that receives from our service, prepared or adopted by Doorbell, or
    /// set by the administrator.
    pub(crate) fn is_wakeable(self, folder: &Path) -> bool {
        match self {
            Self::Firefox => {
                self.is_profile(folder)
                    || firefox_profile::is_adopted(folder)
                    || (firefox::is_set_by_administrator() && firefox_profile::is_firefox_profile(folder))
            }
            Self::Chromium => self.is_profile(folder),
        }
    }

    /// The credential of the profile in `folder` for the wake door; `None` if it has none yet.
    pub(crate) fn credential(self, folder: &Path) -> io::Result<Option<String>> {
        match self {
            Self::Firefox => uaid(folder),
            Self::Chromium => chromium::token(folder),
        }
    }

    /// Whether the browser has to run once before the wake door can be opened for the profile in `folder`, without
    /// anything that a user does in it.
    pub(crate) fn needs_first_start(self, folder: &Path) -> bool {
        match self {
            Self::Firefox => false,
            Self::Chromium => !self.credential(folder).is_ok_and(|credential| credential.is_some()),
        }
    }

    /// The file in the profile in `folder` from which the credential is read.
    pub(crate) fn credential_file(self, folder: &Path) -> PathBuf {
        match self {
            Self::Firefox => folder.join(PREFS),
            Self::Chromium => folder.join(chromium::TOKEN_FILE),
        }
    }

    /// How a desktop part has started `process`, which works with the profile in `folder`; `None` if its user did.
    pub fn started_as(self, folder: &Path, process: u32) -> Option<Mode> {
        let by_itself = woken_as(process);
        match self {
            Self::Firefox => by_itself,
            Self::Chromium => by_itself.or_else(|| chromium::started_as(folder, process)),
        }
    }

    /// The process that works with the profile in `folder`.
    pub fn process_of(self, folder: &Path) -> Option<u32> {
        match self {
            Self::Firefox => firefox_profile::process_of(folder),
            Self::Chromium => chromium_profile::process_of(folder),
        }
    }
}

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Firefox => "Firefox",
            Self::Chromium => "Chromium",
        })
    }
}

/// Whether a browser runs while nothing waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is started when a message waits, and ends when nothing is left to do.
    Woken,
    /// It is started with the session, without a window, and stays. One that has ended is woken like the others.
    Resident,
}

/// A profile that the desktop part keeps reachable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileConfig {
    /// Its browser.
    pub browser: Browser,
    /// Its folder: an absolute path.
    pub folder: PathBuf,
    /// The browser's program.
    pub program: PathBuf,
    /// Whether it stays.
    pub mode: Mode,
}

/// The name of a profile in reports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProfileName {
    /// Its browser.
    pub browser: Browser,
    /// Its folder.
    pub folder: PathBuf,
}

impl ProfileConfig {
    /// Its name.
    pub fn name(&self) -> ProfileName {
        ProfileName { browser: self.browser, folder: self.folder.clone() }
    }
}
