//! The Chromium of one profile, as it is started without a window.

use std::os::unix::process::CommandExt;
use std::path::Path;

use doorbell_browsers::chromium::service_of;
use doorbell_browsers::{Chromium, PushService};
use url::Url;

use super::{install_extension, windows};
use crate::browser::Mode;
use crate::error::DesktopError;
use crate::firefox::{WOKEN_VARIABLE, forget_woken, woken_value};
use crate::process::Process;
use crate::scope::in_scope;

/// A Chromium that can be started without a window.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    chromium: Chromium,
    service: PushService,
}

impl Application {
    /// The one that works with the profile in `folder`, whose subscriptions have to be at the service at `url`.
    pub(crate) fn prepare(chromium: Chromium, folder: &Path, url: &Url) -> Result<Self, DesktopError> {
        let service = PushService::parse(url.as_str())?;
        if let Some(other) = service_of(folder)?.filter(|known| known.origin() != service.origin()) {
            return Err(DesktopError::OtherService { folder: folder.to_owned(), service: other.origin() });
        }
        install_extension(folder)?;
        Ok(Self { chromium, service })
    }

    /// Starts it with the profile in `folder`, without a window.
    pub(crate) fn start(&self, folder: &Path, mode: Mode) -> Result<Process, DesktopError> {
        install_extension(folder)?;
        forget_woken(folder)?;
        windows::forget(folder).map_err(DesktopError::io("delete", &folder.join(windows::FILE)))?;
        let mut command = self.chromium.windowless(folder, &self.service)?;
        command.env(WOKEN_VARIABLE, woken_value(mode));
        let mut command = in_scope(command, "doorbell-chromium");
        // Ctrl-C in the terminal of this process is not meant for the browser.
        command.process_group(0);
        Process::of(doorbell_browsers::start(command)?).map_err(DesktopError::io("watch", folder))
    }
}
