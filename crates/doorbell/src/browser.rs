//! What the verbs for browsers share: where their profiles are, and what a user tries next after an error.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use doorbell_browsers::{BrowserError, Notice, PushService, Started, folder_of};
use doorbell_desktop::{ProfileConfig, StartLock};

use crate::failure;
use crate::state::state_dir;

/// How often it is checked whether another process has started its browser, and the pause between two checks: ten
/// seconds in all.
const LOCK_CHECKS_MAX: u32 = 200;
const LOCK_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// A browser that was started next to this process.
pub(crate) struct Opened {
    /// Its process.
    pub(crate) process: Started,
    /// Its profile, for the desktop part.
    pub(crate) profile: ProfileConfig,
}

/// The folder of the profile `named`, for `browser`.
pub(crate) fn profile_folder(named: &Path, browser: &str) -> Result<PathBuf> {
    let folder = folder_of(named, state_dir().as_deref(), browser);
    let folder = folder.with_context(|| format!("cannot find the profile {}", named.display()))?;
    folder.context("neither HOME nor XDG_STATE_HOME is set: name a folder with --profile ./NAME")
}

/// A line for the user on stderr: stdout is for the result.
pub(crate) fn status(line: &str) {
    eprintln!("doorbell: {line}");
}

/// Prints a notice while a profile is prepared.
pub(crate) fn notify(notice: Notice) {
    status(&notice.to_string());
}

/// Checks that the service answers before a browser is prepared for it.
pub(crate) fn check(service: &PushService, ca: Option<&Path>) -> Result<()> {
    service.check(ca).map_err(|error| match error {
        BrowserError::Unreachable { .. } if service.is_loopback() => anyhow!("{error}; start `doorbell serve` first"),
        other => explain(other),
    })
}

/// Checks the service for a profile that is prepared. What fails is only reported: the browser is one without the service
/// too, for example before the user has signed in to a network, and it connects later.
pub(crate) fn check_later(service: &PushService, ca: Option<&Path>) {
    if let Err(error) = check(service, ca) {
        status(&format!("{}; messages come once that works", failure::line(&error)));
    }
}

/// Waits until no other process starts a browser with the profile in `folder`. `None` if one runs that has the lock.
pub(crate) fn wait_for_start_lock(folder: &Path, runs: impl Fn() -> bool) -> Result<Option<StartLock>> {
    for _ in 0..LOCK_CHECKS_MAX {
        if let Some(lock) = StartLock::try_take(folder)? {
            return Ok(Some(lock));
        }
        if runs() {
            return Ok(None);
        }
        std::thread::sleep(LOCK_CHECK_INTERVAL);
    }
    // What prepares the profile names the browser that runs with it, if it is one that hangs.
    Ok(None)
}

/// With what a user tries next.
pub(crate) fn explain(error: BrowserError) -> Error {
    anyhow!(error.explained())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_does_not_run_is_named_with_the_command_that_starts_it() {
        // Bound, so that no other process gets the port, and not listening.
        let refusing = tokio::net::TcpSocket::new_v4().unwrap();
        refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = refusing.local_addr().unwrap();
        let error = check(&PushService::parse(&format!("https://{address}")).unwrap(), None).unwrap_err();
        assert!(error.to_string().contains("start `doorbell serve` first"), "{error}");
    }
}
