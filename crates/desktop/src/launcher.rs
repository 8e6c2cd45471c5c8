//! Starts one profile's browser without a window.

use std::path::Path;

use doorbell_browsers::{Chromium, Firefox};
use url::Url;

use crate::bidi::Headless;
use crate::browser::{Browser, Mode, ProfileConfig};
use crate::chromium::{self, Preparation};
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
    /// Chromium, with an extension of ours.
    Chromium(chromium::Application),
    /// Any other Firefox, headless.
    Headless(Headless),
}

impl Launcher {
    /// Checks that the browser of `profile` can be woken.
    pub(crate) fn check(profile: &ProfileConfig) -> Result<(), DesktopError> {
        match profile.browser {
            Browser::Firefox => firefox::Application::check(&Firefox::at(&profile.program)?),
            Browser::Chromium => Ok(Chromium::at(&profile.program).map(drop)?),
        }
    }

    /// Checks that the browser of `profile` can be woken for messages from the service at `url`, and writes what that needs
    /// into `state` and the profile. With `allow_debug_port` it may be driven by everyone on this machine while it is woken.
    pub(crate) fn prepare(
        profile: &ProfileConfig,
        state: &Path,
        url: &Url,
        allow_debug_port: bool,
    ) -> Result<Self, DesktopError> {
        match profile.browser {
            Browser::Firefox => {
                let firefox = Firefox::at(&profile.program)?;
                match firefox::Application::prepare(&firefox, &state.join(FIREFOX_LINKS)) {
                    Ok(application) => Ok(Self::Firefox(application)),
                    Err(DesktopError::Unsuitable { .. } | DesktopError::WeakerSandbox { .. }) if allow_debug_port => {
                        Ok(Self::Headless(Headless::new(firefox, state)))
                    }
                    Err(error) => Err(error),
                }
            }
            Browser::Chromium => {
                let chromium = Chromium::at(&profile.program)?;
                Ok(Self::Chromium(chromium::Application::prepare(chromium, &profile.folder, url)?))
            }
        }
    }

    /// Starts the browser with the profile in `folder`. The caller has the start lock. A woken one ends when nothing is
    /// left to do.
    pub(crate) async fn start(&self, folder: &Path, mode: Mode) -> Result<Process, DesktopError> {
        match self {
            Self::Firefox(application) => application.start(folder, mode),
            Self::Chromium(application) => application.start(folder, mode),
            Self::Headless(headless) => headless.start(folder, mode).await,
        }
    }

    /// Whether `process`, which works with the profile in `folder`, receives messages and takes pages.
    pub(crate) fn is_ready(&self, folder: &Path, process: u32) -> bool {
        match self {
            Self::Firefox(_) | Self::Chromium(_) => firefox::takes_pages(folder, process),
            Self::Headless(headless) => headless.is_ready(process),
        }
    }

    /// What watches a woken browser with the profile in `folder`, which is about to be started, until nothing is left for
    /// it to do; `None` if it ends by itself. An error if it has to stay: why.
    pub(crate) async fn before_keeper(&self, folder: &Path) -> Result<Option<Preparation>, String> {
        match self {
            Self::Firefox(_) | Self::Headless(_) => Ok(None),
            Self::Chromium(_) => Preparation::of(folder).await.map(Some),
        }
    }

    /// Whether `process`, a browser that another process has started with the profile in `folder`, has to stay although
    /// it should end: its notifications since its start are not known.
    pub(crate) fn stays(&self, folder: &Path, mode: Mode, process: u32) -> bool {
        matches!(self, Self::Chromium(_)) && mode == Mode::Woken && chromium::shall_end(folder, process)
    }
}
