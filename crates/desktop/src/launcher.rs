//! Starts one profile's browser without a window.

use std::path::Path;

use doorbell_browsers::Firefox;

use crate::browser::{Browser, Mode, ProfileConfig};
use crate::error::DesktopError;
use crate::firefox;
use crate::process::Process;

/// Where this browser's parts are kept, in the desktop part's folder.
pub(crate) const FIREFOX_LINKS: &str = "firefox";

/// A browser that can be started without a window.
#[derive(Clone, Debug)]
pub(crate) enum Launcher {
    /// Firefox ESR, from a folder of links.
    Firefox(firefox::Application),
}

impl Launcher {
    /// Checks that the browser of `profile` can be woken.
    pub(crate) fn check(profile: &ProfileConfig) -> Result<(), DesktopError> {
        match profile.browser {
            Browser::Firefox => firefox::Application::check(&Firefox::at(&profile.program)?),
        }
    }

    /// The same, and writes what that needs into `state`.
    pub(crate) fn prepare(profile: &ProfileConfig, state: &Path) -> Result<Self, DesktopError> {
        match profile.browser {
            Browser::Firefox => {
                let firefox = Firefox::at(&profile.program)?;
                Ok(Self::Firefox(firefox::Application::prepare(&firefox, &state.join(FIREFOX_LINKS))?))
            }
        }
    }

    /// Starts the browser with the profile in `folder`. The caller has the start lock. A woken one ends when nothing is
    /// left to do.
    pub(crate) fn start(&self, folder: &Path, mode: Mode) -> Result<Process, DesktopError> {
        match self {
            Self::Firefox(application) => application.start(folder, mode),
        }
    }

    /// Whether `process`, which works with the profile in `folder`, receives messages and takes pages.
    pub(crate) fn is_ready(&self, folder: &Path, process: u32) -> bool {
        match self {
            Self::Firefox(_) => firefox::takes_pages(folder, process),
        }
    }
}
