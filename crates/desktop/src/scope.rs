//! Browsers in scopes of their own: in the unit of the desktop part they would end with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const SYSTEMD_RUN: &str = "systemd-run";
/// A unit's name has at most 255 bytes, the random part and `.scope` among them.
const UNIT_CHARS_MAX: usize = 200;

/// Where this process runs.
#[derive(Clone, Debug)]
struct Surroundings {
    /// Set by systemd in what it starts.
    invocation: Option<OsString>,
    runtime: Option<OsString>,
    path: Option<OsString>,
}

/// The command, to be started in a scope of the user's systemd; the command itself where there is none.
///
/// The process id, the folder and the environment stay those of the command: `systemd-run` registers itself and then
/// executes it in its place. Input, output and process group cannot be read from a [`Command`]: set them afterwards.
/// `unit` begins the name of the scope. A random part follows, for an older browser's process may still be in a scope.
pub(crate) fn in_scope(command: Command, unit: &str) -> Command {
    let variable = std::env::var_os;
    let here = Surroundings {
        invocation: variable("INVOCATION_ID"),
        runtime: variable("XDG_RUNTIME_DIR"),
        path: variable("PATH"),
    };
    wrapped(command, unit, &here)
}

fn wrapped(command: Command, unit: &str, here: &Surroundings) -> Command {
    let Some(systemd_run) = here.systemd_run() else { return command };
    let mut scoped = Command::new(systemd_run);
    scoped.args(["--user", "--scope", "--quiet", "--collect", "--slice=app.slice"]);
    scoped.arg(format!("--unit={}-{:08x}", name(unit), fastrand::u32(..)));
    scoped.arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => scoped.env(name, value),
            None => scoped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        scoped.current_dir(folder);
    }
    scoped
}

impl Surroundings {
    /// The program that starts scopes, if a user manager of systemd has started this process and still runs.
    fn systemd_run(&self) -> Option<PathBuf> {
        self.invocation.as_ref()?;
        let manager = Path::new(self.runtime.as_ref()?).join("systemd/private");
        if !manager.exists() {
            return None;
        }
        let mut folders = std::env::split_paths(self.path.as_ref()?);
        // A relative folder would be another one in the folder of the command.
        folders.find_map(|folder| Some(folder.join(SYSTEMD_RUN)).filter(|file| file.is_absolute() && file.is_file()))
    }
}

/// What may stand in the name of a unit.
fn name(unit: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    unit.chars().take(UNIT_CHARS_MAX).map(allowed).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Stdio;

    use tempfile::TempDir;

    use super::*;

    /// Writes its arguments to a file, and does as `systemd-run --scope`.
    const STAND_IN: &str = r#"#!/bin/sh
printf '%s\n' "$@" > "$(dirname "$0")/arguments"
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"#;

    /// A session of a user manager, with a `systemd-run` that is a stand-in.
    fn session() -> (TempDir, Surroundings) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("systemd")).unwrap();
        std::fs::write(folder.path().join("systemd/private"), "").unwrap();
        let program = folder.path().join(SYSTEMD_RUN);
        let text = folder.path().join("text");
        std::fs::write(&text, STAND_IN).unwrap();
        // Written by another process: one of a test that runs beside this one would inherit a file that is still open
        // for writing, and what is open for writing cannot be executed.
        let installed = Command::new("install").args(["-m", "700"]).args([&text, &program]).status().unwrap();
        assert!(installed.success());
        let path = std::env::join_paths([Path::new("/nowhere"), folder.path()]).unwrap();
        let here = Surroundings {
            invocation: Some("0123".into()),
            runtime: Some(folder.path().as_os_str().to_owned()),
            path: Some(path),
        };
        (folder, here)
    }

    #[test]
    fn a_command_in_a_scope_keeps_its_process_arguments_environment_and_folder() {
        let (folder, here) = session();
        let script = r#"echo $$ $(cut -d' ' -f5 /proc/$$/stat) "$1" "$GIVEN" "${HOME-none}" "$PWD""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", "--an argument"]).env("GIVEN", "a value").env_remove("HOME").current_dir("/");
        let mut command = wrapped(command, "doorbell-firefox-a b/c%", &here);
        let child = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let process = child.id();
        let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(output, format!("{process} {process} --an argument a value none /\n"));

        let arguments = std::fs::read_to_string(folder.path().join("arguments")).unwrap();
        let (options, rest) = arguments.split_once("\n--\n").unwrap();
        let (options, unit) = options.rsplit_once('\n').unwrap();
        assert_eq!(options, "--user\n--scope\n--quiet\n--collect\n--slice=app.slice");
        let random = unit.strip_prefix("--unit=doorbell-firefox-a_b_c_-").unwrap();
        assert_eq!(random.len(), 8, "{random}");
        assert!(rest.starts_with("sh\n-c\n"), "{rest}");
    }

    #[test]
    fn without_a_user_manager_the_command_stays_as_it_is() {
        let (folder, here) = session();
        let is_wrapped =
            |here: &Surroundings| wrapped(Command::new("sh"), "unit", here).get_program() != Path::new("sh");
        assert!(is_wrapped(&here));
        assert!(!is_wrapped(&Surroundings { invocation: None, ..here.clone() }), "not started by systemd");
        assert!(!is_wrapped(&Surroundings { runtime: None, ..here.clone() }));
        let path = Some("/nowhere:relative".into());
        assert!(!is_wrapped(&Surroundings { path, ..here.clone() }), "no systemd-run");
        std::fs::remove_file(folder.path().join("systemd/private")).unwrap();
        assert!(!is_wrapped(&here), "its manager is gone");
    }

    #[test]
    fn a_long_name_of_a_unit_is_cut() {
        assert_eq!(name(&"x".repeat(300)).len(), UNIT_CHARS_MAX);
    }
}
