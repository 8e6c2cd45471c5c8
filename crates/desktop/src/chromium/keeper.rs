//! When nothing is left to do for a woken Chromium: no window is open, and no notification of its own is on the screen.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::windows::{self, windows};
use crate::clock::Clock;
use crate::file_watch::FileWatch;
use crate::session::Shown;

/// A Chromium without window and notification ends after this time: long enough for messages that follow each other.
const QUIET: Duration = Duration::from_secs(15);

/// Watches one process of Chromium from its start.
#[derive(Debug)]
pub(crate) struct Keeper {
    folder: PathBuf,
    browser: u32,
    reports: FileWatch,
    notifications: Shown,
    idle: Idle,
    clock: Clock,
}

impl Keeper {
    /// For the Chromium `browser`, which has just been started with the profile in `folder`. An error if the bus cannot be
    /// watched: why.
    pub(crate) async fn of(folder: &Path, browser: u32) -> Result<Self, String> {
        let reports =
            FileWatch::of(folder.join(windows::FILE)).map_err(|why| format!("its windows are unknown: {why}"))?;
        let notifications = Shown::of(browser).await?;
        let (idle, clock) = (Idle::default(), Clock::start());
        Ok(Self { folder: folder.to_owned(), browser, reports, notifications, idle, clock })
    }

    /// Waits until nothing has been left to do for a while. It may be dropped and called again without a loss.
    pub(crate) async fn nothing_left(&mut self) {
        loop {
            let busy = windows(&self.folder, self.browser) != Some(0) || self.notifications.count() > 0;
            if self.idle.observe(busy, self.clock.now()) {
                return;
            }
            tokio::select! {
                Ok(()) = self.reports.changed() => {}
                () = self.notifications.changed() => {}
                () = self.clock.reaches(self.idle.due()) => {}
            }
        }
    }
}

/// How long nothing has been left to do.
#[derive(Debug, Default)]
struct Idle {
    since: Option<Duration>,
}

impl Idle {
    /// Takes what is so now: whether nothing has been left to do for long enough.
    fn observe(&mut self, busy: bool, now: Duration) -> bool {
        self.since = if busy { None } else { self.since.or(Some(now)) };
        self.due().is_some_and(|due| due <= now)
    }

    /// When that is so unless something happens.
    fn due(&self) -> Option<Duration> {
        self.since.map(|since| since + QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_something_to_do_begins_the_wait_anew() {
        let mut idle = Idle::default();
        assert!(!idle.observe(true, SECOND));
        assert_eq!(idle.due(), None);
        for now in 2..17 {
            assert!(!idle.observe(false, now * SECOND));
            assert_eq!(idle.due(), Some(17 * SECOND));
        }
        assert!(!idle.observe(true, 17 * SECOND));
        assert!(!idle.observe(false, 18 * SECOND));
        assert!(idle.observe(false, 33 * SECOND));
    }
}
