//! Keeps one woken Firefox until it ends: its notifications, its clicks, and its end.

use std::future::pending;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ChildStderr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use doorbell_browsers::Firefox;
use doorbell_browsers::firefox::process_of;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::clock::Clock;
use crate::error::DesktopError;
use crate::process::Process;
use crate::start_lock::StartLock;

use super::driver::{Blocked, Driver};
use super::private_bus::PrivateBus;
use super::relay::Relay;

/// A Firefox without a notification on the screen ends after this time: long enough for messages that follow each other.
const QUIET: Duration = Duration::from_secs(15);
/// Firefox lets a service worker open a page for a moment after a click.
const CLICK_MAX: Duration = Duration::from_secs(30);
/// How long Firefox may take to begin, and to end: it takes one second and half a second.
const ANNOUNCE_MAX: Duration = Duration::from_secs(50);
const END_MAX: Duration = Duration::from_secs(20);
/// The same for one that was not asked.
const END_UNDRIVEN_MAX: Duration = Duration::from_secs(2);
/// How often it is checked whether the start lock is free, or the user's Firefox works with the profile, and for how long.
const CHECK: Duration = Duration::from_millis(25);
const CHECKS_MAX: u32 = 1200;
/// What Firefox prints once it can be driven.
const ANNOUNCED: &[u8] = b"WebDriver BiDi listening on ws://127.0.0.1:";
const LINE_BYTES_MAX: usize = 512;

/// What is needed until the end.
pub(super) struct Keeper {
    pub(super) firefox: Firefox,
    pub(super) folder: PathBuf,
    pub(super) stays: bool,
    pub(super) ready: Arc<AtomicU32>,
    pub(super) process: Process,
    pub(super) relay: Relay,
    /// Ends soon after this value.
    pub(super) bus: PrivateBus,
}

/// What a click opens, and the right to start the user's Firefox.
struct Page {
    url: Url,
    /// `None` if another process starts one.
    lock: Option<StartLock>,
}

impl Keeper {
    /// Until Firefox has ended, and the user's one too, if a click started it. `stderr` is that of Firefox.
    pub(super) async fn keep(mut self, stderr: ChildStderr) {
        let page = self.until_end(stderr).await;
        let Self { firefox, folder, bus, relay, .. } = self;
        drop(relay);
        bus.end();
        if let Some(page) = page
            && let Err(error) = start_for_user(&firefox, &folder, page).await
        {
            tracing::error!(%error, "the page of a click cannot be opened");
        }
    }

    /// Until Firefox has ended: the page that a click opens.
    async fn until_end(&mut self, stderr: ChildStderr) -> Option<Page> {
        let mut connecting = pin!(connect(stderr));
        let clock = Clock::start();
        let (mut driver, mut connects) = (None, true);
        let (mut busy_at, mut clicked_at) = (Duration::ZERO, None);
        loop {
            if connects || !self.relay.is_quiet() {
                busy_at = clock.now();
            }
            let quiet_at = (!self.stays && !connects && self.relay.is_quiet()).then_some(busy_at + QUIET);
            let clicked = tokio::select! {
                received = self.relay.next() => match received {
                    Some(received) => {
                        busy_at = clock.now();
                        self.relay.pass(received).await
                    }
                    None => {
                        tracing::warn!("a message bus is gone: the woken Firefox ends");
                        break;
                    }
                },
                connected = &mut connecting, if connects => {
                    connects = false;
                    match connected {
                        Ok(connected) => driver = Some(connected),
                        Err(why) => tracing::error!(why, "the woken Firefox cannot be driven: clicks open no page"),
                    }
                    self.ready.store(self.process.id(), Ordering::Release);
                    self.relay.takes_clicks().await
                }
                (driving, blocked) = next(&mut driver) => {
                    let is_clicked = clicked_at.is_some_and(|at| clock.now() < at + CLICK_MAX);
                    match decide(driving, blocked, is_clicked, &self.folder).await {
                        Ok(None) => {}
                        Ok(page) => {
                            self.end(driver).await;
                            return page;
                        }
                        Err(why) => {
                            tracing::debug!(why, "the connection to the woken Firefox is lost");
                            driver = None;
                            break;
                        }
                    }
                    false
                }
                () = clock.reaches(quiet_at) => break,
                _ = self.process.ended() => break,
            };
            if clicked {
                clicked_at = Some(clock.now());
            }
        }
        self.end(driver).await;
        None
    }

    /// Ends Firefox, and waits for that.
    async fn end(&mut self, mut driver: Option<Driver>) {
        let patience = match &mut driver {
            Some(driver) => {
                driver.close();
                END_MAX
            }
            None => END_UNDRIVEN_MAX,
        };
        if timeout(patience, self.ended()).await.is_err() {
            // One that nothing can drive would stay forever.
            if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
                kill_process(pid, Signal::TERM).ok();
            }
            self.ended().await;
        }
        self.ready.compare_exchange(self.process.id(), 0, Ordering::AcqRel, Ordering::Relaxed).ok();
        self.relay.clear().await;
    }

    /// Waits until Firefox has ended. Meanwhile it may take its notifications away, and waits for the reply.
    async fn ended(&mut self) {
        loop {
            tokio::select! {
                Some(received) = self.relay.next() => {
                    self.relay.pass(received).await;
                }
                _ = self.process.ended() => return,
            }
        }
    }
}

/// Drives the Firefox that prints this.
async fn connect(stderr: ChildStderr) -> Result<Driver, String> {
    let stderr = tokio::process::ChildStderr::from_std(stderr).map_err(|error| error.to_string())?;
    let (announce, announced) = oneshot::channel();
    // It goes on until Firefox ends: what is not read would fill the pipe, and Firefox would wait.
    tokio::spawn(read_port(stderr, announce));
    let announced = timeout(ANNOUNCE_MAX, announced).await;
    let port = announced.ok().and_then(Result::ok).ok_or("it prints no port of WebDriver BiDi")?;
    Driver::connect(port).await
}

async fn read_port(mut output: impl AsyncRead + Unpin, announce: oneshot::Sender<u16>) {
    let (mut announce, mut line, mut bytes) = (Some(announce), Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = output.read(&mut bytes).await {
        for &byte in &bytes[..count] {
            if byte != b'\n' {
                line.extend((line.len() < LINE_BYTES_MAX).then_some(byte));
                continue;
            }
            if let Some(port) = port(&line)
                && let Some(announce) = announce.take()
            {
                // The other end waits no longer if that took too long.
                announce.send(port).ok();
            }
            line.clear();
        }
    }
}

fn port(line: &[u8]) -> Option<u16> {
    std::str::from_utf8(line.strip_prefix(ANNOUNCED)?).ok()?.trim_end().parse().ok()
}

/// The next request that waits; forever if there is no driver.
async fn next(driver: &mut Option<Driver>) -> (&mut Driver, Result<Blocked, String>) {
    match driver {
        Some(driver) => {
            let blocked = driver.next().await;
            (driver, blocked)
        }
        None => pending().await,
    }
}

/// Lets the request pass, unless it opens a page: no page is loaded without a window. The page, with the start lock of
/// the profile, if a click opens it.
async fn decide(
    driver: &mut Driver,
    blocked: Result<Blocked, String>,
    is_clicked: bool,
    folder: &Path,
) -> Result<Option<Page>, String> {
    let blocked = blocked?;
    let Some(url) = blocked.page.clone() else {
        driver.let_pass(&blocked).await?;
        return Ok(None);
    };
    if !is_clicked {
        // E.g. one of a session that is restored: a call's page must not ring unseen.
        driver.fail(&blocked).await?;
        return Ok(None);
    }
    // Taken before Firefox ends, so that no other one is woken before the user's one runs.
    let lock = start_lock(folder).await;
    // It ends in any case.
    driver.fail(&blocked).await.ok();
    Ok(Some(Page { url, lock }))
}

async fn start_lock(folder: &Path) -> Option<StartLock> {
    for _ in 0..CHECKS_MAX {
        match StartLock::try_take(folder) {
            Ok(None) => sleep(CHECK).await,
            Ok(lock) => return lock,
            Err(error) => {
                tracing::warn!(%error, "Firefox is started without its lock");
                return None;
            }
        }
    }
    None
}

/// Starts the user's Firefox, and waits until it ends: a child would stay as a zombie.
async fn start_for_user(firefox: &Firefox, folder: &Path, page: Page) -> Result<(), DesktopError> {
    let mut command = firefox.command_for(folder);
    // Ctrl-C in the terminal of this process is not meant for the browser.
    command.arg(page.url.as_str()).process_group(0);
    let child = doorbell_browsers::start(command)?;
    let mut process = Process::of(child).map_err(DesktopError::io("watch", firefox.program()))?;
    for _ in 0..CHECKS_MAX {
        if process_of(folder).is_some() || process.has_ended() {
            break;
        }
        sleep(CHECK).await;
    }
    drop(page.lock);
    process.ended().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_port_is_found_among_other_lines_of_any_length() {
        let noise = "x".repeat(5000);
        let text = format!(
            "{noise}\nWebDriver BiDi listening on ws://127.0.0.1:4711\nWebDriver BiDi listening on ws://127.0.0.1:1\n"
        );
        let (announce, announced) = oneshot::channel();
        read_port(text.as_bytes(), announce).await;
        assert_eq!(announced.await, Ok(4711));
    }

    #[test]
    fn what_is_no_port_of_this_machine_is_not_one() {
        for line in [
            "ws://127.0.0.1:0x",
            "WebDriver BiDi listening on ws://127.0.0.1:65536",
            "WebDriver BiDi listening on ws://192.0.2.1:80",
        ] {
            assert_eq!(port(line.as_bytes()), None, "{line}");
        }
    }
}
