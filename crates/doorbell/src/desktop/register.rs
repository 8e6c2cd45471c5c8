//! `doorbell firefox` and `doorbell chromium` name their profile to the desktop part that runs.

use std::path::Path;

use doorbell_browsers::PushService;
use doorbell_desktop::control::{Answer, Client, Request, socket};
use doorbell_desktop::{Browser, Mode, ProfileConfig};

use super::state_folder;
use crate::browser::status;

/// Makes the desktop part, if one runs for the same service, keep the profile in `folder` reachable. What fails is only
/// reported: the browser starts in any case.
pub(crate) fn register(browser: Browser, program: &Path, folder: &Path, service: &PushService) {
    let Ok(state) = state_folder() else { return };
    let client = match Client::connect(&socket(&state)) {
        Ok(Some(client)) => client,
        Ok(None) => return,
        Err(error) => return status(&format!("the desktop part cannot be asked to wake this profile: {error}")),
    };
    let Ok(program) = std::path::absolute(program) else { return };
    let mode = if browser == Browser::Chromium { Mode::Resident } else { Mode::Woken };
    let profile = ProfileConfig { browser, folder: folder.to_owned(), program, mode };
    match client.ask(&Request::Add { service: service.origin(), profile }) {
        Ok(Answer::Added) => {
            status("a message wakes this profile while it is closed, as long as the desktop part runs")
        }
        Ok(Answer::Error(why)) => status(&format!("no message wakes this profile while it is closed: {why}")),
        Ok(Answer::Status(_)) => status("the desktop part answers something else than was asked"),
        Err(error) => status(&format!("the desktop part cannot be asked to wake this profile: {error}")),
    }
}
