//! The program of a browser: where it is installed, and how it is started.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::BrowserError;

/// A kind of browser, for looking one up.
pub(crate) struct Kind {
    /// What users call it.
    pub(crate) name: &'static str,
    /// What distributions call its program, the likeliest first.
    pub(crate) programs: &'static [&'static str],
    /// How to install it.
    pub(crate) install: &'static str,
}

/// The first of the browser's programs on the PATH.
pub(crate) fn find(kind: &Kind) -> Result<PathBuf, BrowserError> {
    // Without a PATH nothing is on it.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = |name| std::env::split_paths(&path).map(move |folder| folder.join(name));
    let found = kind.programs.iter().flat_map(on_path).find(|file| file.is_file());
    found.ok_or(BrowserError::NotInstalled { browser: kind.name, install: kind.install })
}

/// The program that the caller named.
pub(crate) fn named(file: &Path) -> Result<PathBuf, BrowserError> {
    if !file.is_file() {
        return Err(BrowserError::NoSuchProgram(file.to_owned()));
    }
    Ok(file.to_owned())
}

/// Starts `command` next to this process, without its output.
pub fn start(mut command: Command) -> Result<Child, BrowserError> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|why| failed(&command, why))
}

/// Puts `command` in this process's place, so that the terminal, its signals and the exit status are the browser's own.
/// Returns only if that failed.
pub fn replace_this_process(mut command: Command) -> BrowserError {
    let why = command.exec();
    failed(&command, why)
}

pub(crate) fn failed(command: &Command, why: std::io::Error) -> BrowserError {
    BrowserError::Start { program: command.get_program().into(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { name: "Browser", programs: &["no-such-browser"], install: "install it" };

    #[test]
    fn a_browser_that_is_missing_is_named_with_how_to_get_it() {
        assert_eq!(find(&KIND).unwrap_err().to_string(), "no Browser is on the PATH: install it");
        assert_eq!(named(Path::new("/no/such")).unwrap_err().to_string(), "/no/such: there is no such file");
    }

    #[test]
    fn a_program_that_does_not_start_is_an_error_that_names_it() {
        let error = start(Command::new("/no/such")).unwrap_err().to_string();
        assert!(error.starts_with("cannot start /no/such: "), "{error}");
    }
}
