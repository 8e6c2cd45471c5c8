//! Small questions to the machine: is a tool here, are we root, is this CI.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Whether this is a CI run, where a missing tool is a failure and not an excuse.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Where `tool` lies on the PATH.
pub(crate) fn which(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file())
}

/// Whether the command runs and exits with 0; what it prints is thrown away.
pub(crate) fn succeeds(program: &str, args: &[&str]) -> bool {
    let quiet =
        Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// A command that runs `program` as root: plainly when we are root, else through sudo; `None` when neither can be had.
pub(crate) fn as_root(program: &str) -> Option<Command> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() == b"0" {
        return Some(Command::new(program));
    }
    which("sudo").map(|sudo| {
        let mut command = Command::new(sudo);
        command.arg(program);
        command
    })
}
