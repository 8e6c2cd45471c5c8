//! The browser that is installed, and how it is started in this process's place or beside it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// A kind of browser, for looking one up.
pub(crate) struct Make {
    /// What users call it.
    pub(crate) name: &'static str,
    /// What distributions call its program, the likeliest first.
    pub(crate) programs: &'static [&'static str],
    /// How to come by one.
    pub(crate) install: &'static str,
}

/// An installed browser.
pub(crate) struct Program {
    file: PathBuf,
}

impl Program {
    /// The one that was `named`, or the first on the PATH.
    pub(crate) fn find(make: &Make, named: Option<&Path>) -> Result<Self> {
        if let Some(file) = named {
            if !file.is_file() {
                bail!("--binary {}: there is no such file", file.display());
            }
            return Ok(Self { file: file.to_owned() });
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = |name| std::env::split_paths(&path).map(move |folder| folder.join(name));
        let file = make.programs.iter().flat_map(on_path).find(|file| file.is_file());
        let file = file.with_context(|| {
            let Make { name, install, .. } = make;
            format!("no {name} is on the PATH: {install}, or name it with --binary")
        })?;
        Ok(Self { file })
    }

    /// Its file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// A command that starts it.
    pub(crate) fn command(&self) -> Command {
        Command::new(&self.file)
    }

    /// Starts `command` beside this process, silently.
    pub(crate) fn start(&self, mut command: Command) -> Result<Child> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().with_context(|| format!("cannot start {}", self.file.display()))
    }

    /// Puts `command` in this process's place, so that the terminal, its signals and the exit status are the browser's
    /// own. Comes back only with the reason why that failed.
    pub(crate) fn become_it(&self, mut command: Command) -> anyhow::Error {
        anyhow!(command.exec()).context(format!("cannot start {}", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAKE: Make = Make { name: "Browser", programs: &["no-such-browser"], install: "install it" };

    #[test]
    fn a_browser_that_is_missing_is_named_with_how_to_get_it() {
        let error = Program::find(&MAKE, None).err().unwrap().to_string();
        assert_eq!(error, "no Browser is on the PATH: install it, or name it with --binary");
        let error = Program::find(&MAKE, Some(Path::new("/no/such"))).err().unwrap().to_string();
        assert_eq!(error, "--binary /no/such: there is no such file");
    }
}
