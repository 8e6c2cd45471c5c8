//! The Firefox that is installed, and how it is started.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// What distributions call it.
const NAMES: [&str; 2] = ["firefox-esr", "firefox"];

/// A Firefox.
pub(super) struct Browser {
    program: PathBuf,
}

impl Browser {
    /// The one that was `named`, or the first on the PATH.
    pub(super) fn find(named: Option<&Path>) -> Result<Self> {
        if let Some(program) = named {
            if !program.is_file() {
                bail!("--binary {}: there is no such file", program.display());
            }
            return Ok(Self { program: program.to_owned() });
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = |name| std::env::split_paths(&path).map(move |folder| folder.join(name));
        let program = NAMES.into_iter().flat_map(on_path).find(|file| file.is_file());
        let program = program.context(
            "no Firefox is on the PATH: install the package firefox-esr (Debian) or firefox (others), or name it with --binary",
        )?;
        Ok(Self { program })
    }

    /// Starts it unseen, with a profile, for a driver.
    pub(super) fn start_unseen(&self, profile: &Path) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(["--headless", "--no-remote", "--new-instance", "--profile"]).arg(profile);
        command.args(["--marionette", "--remote-allow-system-access", "about:blank"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().with_context(|| format!("cannot start {}", self.program.display()))
    }

    /// Starts it at a page, for somebody who sits before it. `--no-remote` keeps another profile's window from taking the page.
    pub(super) fn start(&self, profile: &Path, page: &str) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(["--no-remote", "--profile"]).arg(profile).arg(page);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().with_context(|| format!("cannot start {}", self.program.display()))
    }

    /// Puts it in this process's place, so that the terminal, its signals and the exit status are Firefox's own. Comes
    /// back only with the reason why that failed.
    pub(super) fn become_it(&self, profile: &Path, rest: &[OsString]) -> anyhow::Error {
        let error = Command::new(&self.program).arg("--profile").arg(profile).args(rest).exec();
        anyhow!(error).context(format!("cannot start {}", self.program.display()))
    }
}
