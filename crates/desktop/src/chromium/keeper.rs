//! When nothing is left to do for a woken Chromium: no window is open, no notification of its own is on the screen, and no
//! other process is about to open a page in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use super::idle::{Idle, QUIET, Seen};
use super::token;
use super::windows::{self, windows};
use crate::clock::Clock;
use crate::file_watch::FileWatch;
use crate::session::{Shown, Watch};
use crate::start_lock::StartLock;

/// How long after a page was handed over its window may take to be counted.
const HAND_OVER: Duration = Duration::from_secs(2);

/// What has to be watched before a Chromium is started.
#[derive(Debug)]
pub(crate) struct Preparation {
    folder: PathBuf,
    reports: FileWatch,
    notifications: Watch,
}

impl Preparation {
    /// Begins to watch for a Chromium with the profile in `folder`. An error if the bus cannot be watched: why.
    pub(crate) async fn of(folder: &Path) -> Result<Self, String> {
        let reports =
            FileWatch::of(folder.join(windows::FILE)).map_err(|why| format!("its windows are unknown: {why}"))?;
        Ok(Self { folder: folder.to_owned(), reports, notifications: Watch::begin().await? })
    }

    /// The Chromium has just been started as the process `browser`.
    pub(crate) fn keeper(self, browser: u32) -> Keeper {
        let (notifications, idle, clock) = (self.notifications.of(browser), Idle::new(QUIET), Clock::start());
        let Self { folder, reports, .. } = self;
        Keeper { folder, browser, reports, notifications, idle, clock, hand_over: HAND_OVER }
    }
}

/// Watches one process of Chromium from its start.
#[derive(Debug)]
pub(crate) struct Keeper {
    folder: PathBuf,
    browser: u32,
    reports: FileWatch,
    notifications: Shown,
    idle: Idle,
    clock: Clock,
    hand_over: Duration,
}

impl Keeper {
    /// The service reports that the browser is connected.
    pub(crate) fn connected(&mut self) {
        self.idle.connected();
    }

    /// The browser was asked to end, and did not.
    pub(crate) fn goes_on(&mut self) {
        self.idle.again();
    }

    /// Waits until nothing has been left to do for a while, and takes the start lock: no page is handed over as long as it
    /// is held. It may be dropped and called again without a loss.
    pub(crate) async fn nothing_left(&mut self) -> StartLock {
        loop {
            let has_credential = token(&self.folder).is_ok_and(|token| token.is_some());
            let seen = Seen { busy: self.is_busy(), has_credential };
            if self.idle.observe(seen, self.clock.now()) {
                if let Ok(Some(lock)) = StartLock::try_take(&self.folder) {
                    // A page may have been handed over just before.
                    sleep(self.hand_over).await;
                    if !self.is_busy() {
                        return lock;
                    }
                }
                // Another process hands a page over.
                self.idle.again();
                continue;
            }
            tokio::select! {
                Ok(()) = self.reports.changed() => {}
                () = self.notifications.changed() => {}
                () = self.clock.reaches(self.idle.due()) => {}
            }
        }
    }

    fn is_busy(&self) -> bool {
        windows(&self.folder, self.browser) != Some(0) || self.notifications.count() > 0
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::super::windows::WindowsReport;
    use super::*;

    /// How long anything may take on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn counts(folder: &Path, windows: u32) {
        WindowsReport { browser: 7, host: process::id(), windows: Some(windows) }.write(folder).unwrap();
    }

    /// The keeper of a Chromium that is connected, and may end at once.
    fn keeper(folder: &Path, shown: watch::Receiver<usize>, hand_over: Duration) -> Keeper {
        let reports = FileWatch::of(folder.join(windows::FILE)).unwrap();
        let (notifications, idle) = (Shown::counted(shown), Idle::new(Duration::from_millis(10)));
        let folder = folder.to_owned();
        let mut keeper = Keeper { folder, browser: 7, reports, notifications, idle, clock: Clock::start(), hand_over };
        keeper.connected();
        keeper
    }

    #[tokio::test]
    async fn a_chromium_is_not_ended_while_another_process_hands_it_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let profile = folder.path().join("alice");
        std::fs::create_dir(&profile).unwrap();
        let (_shows, shown) = watch::channel(0);
        let mut keeper = keeper(&profile, shown, Duration::ZERO);
        counts(&profile, 0);
        let other = StartLock::try_take(&profile).unwrap().expect("it is free");
        let mut ends = Box::pin(keeper.nothing_left());
        timeout(Duration::from_millis(500), &mut ends).await.expect_err("the other process has the lock");
        drop(other);
        let lock = timeout(PATIENCE, ends).await.expect("nothing is left to do");
        assert!(StartLock::try_take(&profile).unwrap().is_none(), "it is held while the browser ends");
        drop(lock);
        timeout(PATIENCE, keeper.nothing_left()).await.expect("a browser that did not end is asked again");
    }

    #[tokio::test]
    async fn a_window_that_opens_while_the_lock_is_taken_keeps_its_chromium() {
        let folder = tempfile::tempdir().unwrap();
        let profile = folder.path().join("alice");
        std::fs::create_dir(&profile).unwrap();
        let (shows, shown) = watch::channel(0);
        let mut keeper = keeper(&profile, shown, Duration::from_secs(1));
        counts(&profile, 0);
        let ends = keeper.nothing_left();
        tokio::pin!(ends);
        timeout(PATIENCE, async {
            while StartLock::try_take(&profile).unwrap().is_some() {
                timeout(Duration::from_millis(5), &mut ends).await.expect_err("it looks again first");
            }
        })
        .await
        .expect("the lock is taken");
        counts(&profile, 1);
        timeout(Duration::from_secs(2), &mut ends).await.expect_err("a window is open");
        assert!(StartLock::try_take(&profile).unwrap().is_some(), "and the lock is free again");
        shows.send(1).unwrap();
        counts(&profile, 0);
        timeout(Duration::from_millis(200), &mut ends).await.expect_err("a notification is on the screen");
        shows.send(0).unwrap();
        timeout(PATIENCE, ends).await.expect("nothing is left to do");
    }
}
