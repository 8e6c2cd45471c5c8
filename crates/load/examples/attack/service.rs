//! The service that is attacked: `doorbell serve` with its default bounds but one, in a process of its own.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A running service. It is killed when this is dropped.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The log and the state directory, which the service makes for itself.
    folder: TempDir,
}

impl Service {
    pub(crate) async fn start(program: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("doorbell-attack-").tempdir()?;
        let mut command = Command::new(program);
        command.args(["serve", "--plain", "--listen=127.0.0.1:0", "--state-dir"]).arg(folder.path().join("state"));
        // The idle agents and those of an attack from many sources come within seconds, and not over an hour.
        command.arg("--new-agents-per-minute=12000");
        // Settings in the user's environment are for the user's own service.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOORBELL_")) {
            command.env_remove(name);
        }
        let log = std::fs::File::create(folder.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{} does not start: {error}; build it first", program.display()))
        })?;
        let out = child.stdout.take().ok_or_else(|| io::Error::other("a service without output"))?;
        let mut lines = BufReader::new(out).lines();
        while let Some(line) = lines.next_line().await? {
            let Some(url) = line.strip_prefix("listening on http://") else { continue };
            let address = url.trim_end_matches('/').parse().map_err(io::Error::other)?;
            // The service would fail to write to a closed pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(Self { child, address, folder });
        }
        let log = std::fs::read_to_string(folder.path().join("log"))?;
        Err(io::Error::other(format!("the service did not start: {log}")))
    }

    /// The anonymous memory that it has, in KiB (proc(5)).
    pub(crate) fn rss_anon_kib(&self) -> io::Result<u64> {
        let pid = self.child.id().ok_or_else(|| io::Error::other("the service has ended"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| io::Error::other("/proc shows no RssAnon"))
    }

    /// The lines of its log that are warnings or errors.
    pub(crate) fn warnings(&self) -> io::Result<Vec<String>> {
        let log = std::fs::read_to_string(self.folder.path().join("log"))?;
        Ok(log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).map(str::to_owned).collect())
    }
}
