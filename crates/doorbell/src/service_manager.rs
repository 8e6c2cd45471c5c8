//! systemd, where it started the service: it may give a socket that listens already, learns when the service is ready,
//! and restarts one that no longer reports (sd_notify(3), sd_listen_fds(3)). Without systemd nothing of this happens.

use std::future::pending;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

/// The socket that the service manager listens on for us (`LISTEN_FDS`): connections wait there while we restart.
pub(crate) fn socket() -> Result<Option<TcpListener>> {
    let mut given = ListenFd::from_env();
    ensure!(given.len() <= 1, "the service manager gives {} sockets (LISTEN_FDS), and one is served", given.len());
    if given.len() == 0 {
        return Ok(None);
    }
    let socket =
        given.take_tcp_listener(0).context("the socket of the service manager (LISTEN_FDS) is not one of TCP")?;
    Ok(socket)
}

/// The watchdog of the service manager.
pub(crate) struct Watchdog {
    /// When it wants the next sign of life, if it watches.
    ticks: Option<Interval>,
}

impl Watchdog {
    pub(crate) fn new() -> Self {
        // Twice as often as it wants, as sd_watchdog_enabled(3) recommends.
        let every = sd_notify::watchdog_enabled().map(|usual| (usual / 2).max(Duration::from_millis(1)));
        let ticks = every.map(|every| {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self { ticks }
    }

    /// Sends signs of life, if they are wanted. Never returns. Cancelling it loses none.
    pub(crate) async fn watched(&mut self) {
        let Some(ticks) = &mut self.ticks else { return pending().await };
        loop {
            ticks.tick().await;
            send(&[NotifyState::Watchdog]);
        }
    }
}

/// Reports that the service serves, at `origin`.
pub(crate) fn ready(origin: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&format!("serving {origin}"))]);
}

/// Reports that it reads again what can change; [`ready`] ends that.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "cannot report the reload to the service manager"),
    }
}

/// Reports that it drains.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "cannot report to the service manager (NOTIFY_SOCKET)");
    }
}
