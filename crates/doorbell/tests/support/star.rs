//! The real demo: `doorbell demo` on free ports, with a state directory of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::Running;
use super::service::doorbell;

/// A running demo and its push service. Its state outlives its process, so that it can be killed and started again.
pub struct Star {
    state: TempDir,
    settings: Vec<String>,
    process: Running,
    push_service: String,
    site: String,
}

impl Star {
    /// Starts one whose calls ring for so long.
    pub fn ringing_for(seconds: u32) -> Self {
        Self::start_with(&["--own-chromiums", "--ring-secs", &seconds.to_string()])
    }

    /// Starts one with settings, as flags.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_for(settings, |_| {})
    }

    /// The same; `prepare` sees the command before it runs.
    pub fn start_for(settings: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let state = tempfile::tempdir().expect("a state directory");
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let any = "127.0.0.1:0".to_owned();
        let (process, push_service, site) = demo(state.path(), [&any, &any], &settings, prepare);
        Self { state, settings, process, push_service, site }
    }

    /// `kill -9`.
    pub fn is_killed(&mut self) {
        self.process.kill();
    }

    /// Starts again after it was killed, at the same addresses. Its push service has lost all that it kept; the
    /// application has not.
    pub fn starts_again_without_subscriptions(&mut self) {
        for file in ["doorbell.db", "doorbell.db-wal", "doorbell.db-shm"] {
            // Without a writer that was killed in the middle there is no log beside the database.
            std::fs::remove_file(self.state.path().join(file)).ok();
        }
        let port = |origin: &str| format!("127.0.0.1:{}", origin.rsplit_once(':').expect("a port").1);
        let (service, site) = (port(&self.push_service), port(&self.site));
        (self.process, self.push_service, self.site) =
            demo(self.state.path(), [&service, &site], &self.settings, |_| {});
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it has printed `words`: the first such line.
    pub fn prints(&self, words: &str) -> String {
        self.process.prints(words)
    }

    /// What it wrote so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// The origin of its push service.
    pub fn push_service(&self) -> &str {
        &self.push_service
    }

    /// The certificate authority of its push service.
    pub fn ca(&self) -> PathBuf {
        self.state.path().join("ca.pem")
    }

    /// The address that people open.
    pub fn site(&self) -> &str {
        &self.site
    }
}

/// A process, its push service, and its site.
fn demo(
    state: &Path,
    [service, site]: [&str; 2],
    settings: &[String],
    prepare: impl FnOnce(&mut Command),
) -> (Running, String, String) {
    let mut command = doorbell("demo");
    command.args(["--listen", service, "--demo-listen", site, "--state-dir"]).arg(state).args(settings);
    prepare(&mut command);
    let process = Running::start(&mut command);
    let named = |what: &'static str| process.wait_for(what, |line| Some(line.strip_prefix(what)?.trim().to_owned()));
    let (service, site) = (named("push service "), named("demo "));
    (process, service, site)
}
