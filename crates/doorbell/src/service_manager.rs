//! systemd, where it started the service: it may give a socket that listens already, learns when the service is ready,
//! and restarts one that no longer reports (sd_notify(3), sd_listen_fds(3)). Without systemd nothing of this happens.

use std::future::pending;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorbell_service::config::Served;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

/// A socket that listens already.
pub(crate) struct Given {
    /// What its name says is served there; `None` for a single socket without such a name.
    pub(crate) served: Option<Served>,
    pub(crate) socket: TcpListener,
}

/// The sockets that the service manager listens on for us (`LISTEN_FDS`): connections wait there while we restart.
pub(crate) fn sockets() -> Result<Vec<Given>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut given = ListenFd::from_env();
    let number = given.len();
    // systemd names all sockets or none; other managers may give no names.
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for index in 0..number {
        let served = named(names.next().unwrap_or_default(), number)?;
        let socket = given.take_tcp_listener(index);
        let socket = socket.context("a socket of the service manager (LISTEN_FDS) is not one of TCP")?;
        sockets.push(Given { served, socket: socket.context("a socket of the service manager was given twice")? });
    }
    Ok(sockets)
}

/// What a socket of several serves, by its name.
fn named(name: &str, number: usize) -> Result<Option<Served>> {
    let served = Served::of_name(name);
    ensure!(
        served.is_some() || number == 1,
        "the service manager gives {number} sockets (LISTEN_FDS), and what the one called `{name}` serves is not clear: \
         name each by FileDescriptorName=tls, plain or mcs in a .socket unit of its own"
    );
    Ok(served)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_socket_may_have_any_name() {
        assert_eq!(named("doorbell.socket", 1).unwrap(), None);
        assert_eq!((named("", 1).unwrap(), named("mcs", 1).unwrap()), (None, Some(Served::Mcs)));
        assert_eq!(named("plain", 3).unwrap(), Some(Served::Plain));
        assert!(named("doorbell.socket", 2).unwrap_err().to_string().contains("FileDescriptorName"));
    }
}
