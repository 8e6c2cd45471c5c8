//! The real demo: `doorbell demo` on free ports, with a state directory of its own.

use std::path::PathBuf;

use tempfile::TempDir;

use super::process::Running;
use super::service::doorbell;

/// A running demo and its push service. Its state outlives its process.
pub struct Star {
    state: TempDir,
    process: Running,
    push_service: String,
    site: String,
}

impl Star {
    /// Starts one whose calls ring for so long.
    pub fn ringing_for(seconds: u32) -> Self {
        let state = tempfile::tempdir().expect("a state directory");
        let mut command = doorbell("demo");
        command.args(["--listen", "127.0.0.1:0", "--demo-listen", "127.0.0.1:0", "--state-dir"]).arg(state.path());
        command.args(["--own-chromiums", "--ring-secs", &seconds.to_string()]);
        let process = Running::start(&mut command);
        let named =
            |what: &'static str| process.wait_for(what, |line| Some(line.strip_prefix(what)?.trim().to_owned()));
        let (push_service, site) = (named("push service "), named("demo "));
        Self { state, process, push_service, site }
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
