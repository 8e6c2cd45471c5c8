//! A push service of our own to be measured: this program with the verb `serve`, with a temporary state and a self-signed
//! certificate, and without bounds that would limit the measurement.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::{Blame, LoadError, Result};
use crate::job::Target;

/// Longer than it may take to read the state and to stop.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings without which the service would limit the measurement, and not the machine.
const UNBOUNDED: &[&str] = &[
    "--rate-per-subscription=0",
    "--rate-per-key=0",
    "--chromium-enrolments-per-minute=0",
    "--new-agents-per-minute=0",
    "--new-agents-per-source=0",
    "--new-receipt-subscriptions-per-minute=0",
    "--new-receipt-subscriptions-per-source=0",
    "--agents-max=4000000000",
    "--unused-agents-max=4000000000",
    "--subscriptions-max=4000000000",
    "--stored-bytes-max=1000000000000",
    "--receipt-subscriptions-max=4000000000",
    "--unused-receipt-subscriptions-max=4000000000",
    "--disk-floor-bytes=0",
    "--messages-per-agent-max=4000000000",
    "--bytes-per-agent-max=1000000000000",
    "--chromium-enrolments-per-source=0",
    "--connections-max=1000000",
    "--connections-per-source-max=0",
];

/// A running service.
pub(super) struct Service {
    state: TempDir,
    database: Option<String>,
    process: Process,
    pub(super) target: Target,
}

struct Process {
    child: Child,
    log: JoinHandle<String>,
}

impl Service {
    /// Starts one whose state is in a new directory in `state`, or in the system's temporary one, and its messages in
    /// `database` or in its state.
    pub(super) async fn start(state: Option<&Path>, database: Option<&str>, tls: bool) -> Result<Self> {
        let prefix = "doorbell-load-";
        let made = match state {
            Some(dir) => tempfile::Builder::new().prefix(prefix).tempdir_in(dir),
            None => tempfile::Builder::new().prefix(prefix).tempdir(),
        };
        let state =
            made.blame_usage("cannot create a directory for the service's state; choose another place with --state")?;
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let (process, address) = Process::start(state.path(), database, free, tls).await?;
        let scheme = if tls { "https" } else { "http" };
        let target = Target {
            origin: format!("{scheme}://{address}"),
            host: address.ip().to_string(),
            address,
            tls,
            ca: tls.then(|| state.path().join("ca.pem")),
        };
        Ok(Self { state, database: database.map(str::to_owned), process, target })
    }

    /// The number of its process.
    pub(super) fn pid(&self) -> Result<u32> {
        self.process.child.id().blame_service("the service has stopped")
    }

    /// Where its state is.
    pub(super) fn state(&self) -> &Path {
        self.state.path()
    }

    /// Stops it in order: what its store did since it was started.
    pub(super) async fn stop(&mut self) -> Result<Commits> {
        Commits::of_log(&self.process.stop().await?)
    }

    /// Kills it, as the system does without memory.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.process.child.kill().await.blame_generator("cannot kill the push service")
    }

    /// Starts it again after [`Service::stop`] or [`Service::kill`], at the same address and with the same state.
    pub(super) async fn start_again(&mut self) -> Result<()> {
        let database = self.database.as_deref();
        let (process, address) =
            Process::start(self.state.path(), database, self.target.address, self.target.tls).await?;
        if address != self.target.address {
            return Err(LoadError::Service("the push service came back at another address".to_owned()));
        }
        self.process = process;
        Ok(())
    }
}

/// What a store committed since it was opened, by the last line of the service's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Commits {
    /// Transactions. Each waits for the disk once.
    pub(super) commits: u64,
    /// Messages kept, messages erased, and all other changes.
    pub(super) writes: u64,
}

impl Commits {
    fn of_log(log: &str) -> Result<Self> {
        // A service that was killed has no such line, and no figures.
        let Some(line) = log.lines().rev().find(|line| line.contains("the store is closed")) else {
            return Ok(Self::default());
        };
        let number = |name: &str| {
            let mut words = line.split_whitespace().filter_map(|word| word.strip_prefix(name));
            words.find_map(|number| number.parse().ok()).blame_service(format_args!("its log has no number {name}"))
        };
        Ok(Self { commits: number("commits=")?, writes: number("writes=")? })
    }
}

impl Process {
    async fn start(state: &Path, database: Option<&str>, listen: SocketAddr, tls: bool) -> Result<(Self, SocketAddr)> {
        let program = std::env::current_exe().blame_generator("cannot find this program to start it again")?;
        let mut command = Command::new(program);
        command.arg("serve").args(UNBOUNDED).arg("--listen").arg(listen.to_string()).arg("--state-dir").arg(state);
        if !tls {
            command.arg("--plain");
        }
        // Settings in the user's environment are for the user's own service.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOORBELL_")) {
            command.env_remove(name);
        }
        if let Some(url) = database {
            // Not a flag, which other users of the machine could read.
            command.env("DOORBELL_DATABASE", url).arg("--allow-single-copy");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().blame_generator("cannot start a push service")?;
        let (out, mut err) = child.stdout.take().zip(child.stderr.take()).blame_generator("a service without pipes")?;
        let log = tokio::spawn(async move {
            let mut text = Vec::new();
            // An error ends the log: what was read before it is returned.
            let _ = err.read_to_end(&mut text).await;
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut lines = BufReader::new(out).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.blame_generator("cannot read from the push service")? {
                let authority = line.strip_prefix("listening on ").and_then(|url| Some(url.split_once("://")?.1));
                if let Some(authority) = authority {
                    let address = authority.trim_end_matches('/').parse::<SocketAddr>();
                    return address.map(Some).blame_service("the push service names no address");
                }
            }
            Ok(None)
        };
        let address = timeout(START_TIMEOUT, ready).await.blame_service("the push service does not begin to serve")?;
        let process = Self { child, log };
        match address? {
            Some(address) => {
                // Its later lines are not needed, but it would fail to write to a closed pipe.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                Ok((process, address))
            }
            None => {
                let log = process.log.await.blame_generator("a task failed")?;
                Err(LoadError::Service(format!("the push service did not start: {}", log.trim())))
            }
        }
    }

    /// Stops it: its log.
    async fn stop(&mut self) -> Result<String> {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            kill_process(pid, Signal::TERM).blame_generator("cannot stop the push service")?;
        }
        let status = timeout(START_TIMEOUT, self.child.wait()).await.blame_service("the push service does not stop")?;
        let status = status.blame_generator("cannot wait for the push service")?;
        let log = timeout(START_TIMEOUT, &mut self.log).await.blame_service("the push service's log has no end")?;
        let log = log.blame_generator("a task failed")?;
        if !status.success() {
            return Err(LoadError::Service(format!("the push service failed: {}", log.trim())));
        }
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commits_are_read_from_the_last_line_that_has_them() {
        let log = "2026-01-01T00:00:00Z  INFO serving address=127.0.0.1:1\n\
                   2026-01-01T00:00:01Z  INFO the store is closed commits=12 writes=345\n\
                   2026-01-01T00:00:01Z  INFO stopped\n";
        assert_eq!(Commits::of_log(log).unwrap(), Commits { commits: 12, writes: 345 });
        assert_eq!(Commits::of_log("killed").unwrap(), Commits::default());
        assert!(Commits::of_log("the store is closed").is_err());
    }
}
