//! Starts one profile's browser without a window.

use std::path::Path;

use doorbell_browsers::Firefox;

use crate::bidi::Headless;
use crate::browser::{Browser, Mode, ProfileConfig};
use crate::error::DesktopError;
use crate::firefox;
use crate::process::Process;

/// Where this browser's parts are kept, in the desktop part's folder.
const FIREFOX_LINKS: &str = "firefox";

/// A browser that can be started without a window.
#[derive(Clone, Debug)]
pub(crate) enum Launcher {
    /// Firefox ESR, from a folder of links.
    Firefox(firefox::Application),
    /// Any other Firefox, headless.
    Headless(Headless),
}

impl Launcher {
    /// Checks that the browser of `profile` can be woken, and writes what that needs into `state`. With
    /// `allow_debug_port` it may be driven by everyone on this machine while it is woken.
    pub(crate) fn prepare(profile: &ProfileConfig, state: &Path, allow_debug_port: bool) -> Result<Self, DesktopError> {
        match profile.browser {
            Browser::Firefox => {
                let firefox = Firefox::at(&profile.program)?;
                match firefox::Application::prepare(&firefox, &state.join(FIREFOX_LINKS)) {
                    Ok(application) => Ok(Self::Firefox(application)),
                    Err(DesktopError::Unsuitable { .. }) if allow_debug_port => {
                        Ok(Self::Headless(Headless::new(firefox, state)))
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Starts the browser with the profile in `folder`. The caller has the start lock. A woken one ends when nothing is
    /// left to do.
    pub(crate) async fn start(&self, folder: &Path, mode: Mode) -> Result<Process, DesktopError> {
        match self {
            Self::Firefox(application) => application.start(folder, mode),
            Self::Headless(headless) => headless.start(folder, mode).await,
        }
    }

    /// Whether `process`, which works with the profile in `folder`, receives messages and takes pages.
    pub(crate) fn is_ready(&self, folder: &Path, process: u32) -> bool {
        match self {
            Self::Firefox(_) => firefox::takes_pages(folder, process),
            Self::Headless(headless) => headless.is_ready(process),
        }
    }
}
