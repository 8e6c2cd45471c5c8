//! One step of a recipe: a command with a name, whose output goes to a log and, where it helps, to the terminal.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock::Stopwatch;
use crate::tree;

/// What a step shows while it runs. Everything it prints is in its log either way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Each line at once.
    Everything,
    /// Nothing, unless it fails.
    Failures,
}

/// What came of a command.
pub(crate) struct Ran {
    pub(crate) succeeded: bool,
    pub(crate) took: Duration,
    pub(crate) log: PathBuf,
}

/// Runs `command` to its end. `line` sees every line of its output.
pub(crate) fn run(name: &str, mut command: Command, show: Show, mut line: impl FnMut(&str)) -> Result<Ran> {
    let stopwatch = Stopwatch::start();
    let log = log_of(name)?;
    let mut file = File::create(&log).with_context(|| format!("the log {}", log.display()))?;
    writeln!(file, "$ {}", words(&command))?;
    let (reader, writer) = io::pipe()?;
    let mut child = command
        .current_dir(tree::root())
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("{} does not start", words(&command)))?;
    // The command holds the writing end of the pipe: without this the reader would wait for itself.
    drop(command);
    for output in BufReader::new(reader).split(b'\n') {
        let output = output?;
        let output = String::from_utf8_lossy(&output);
        writeln!(file, "{output}")?;
        if show == Show::Everything {
            println!("{output}");
        }
        line(&output);
    }
    let succeeded = child.wait()?.success();
    Ok(Ran { succeeded, took: stopwatch.elapsed(), log })
}

/// The command as one would type it.
pub(crate) fn words(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

fn log_of(name: &str) -> Result<PathBuf> {
    let folder = tree::scratch();
    fs::create_dir_all(&folder).with_context(|| format!("the folder {}", folder.display()))?;
    Ok(folder.join(format!("{}.log", name.replace([' ', '/'], "-"))))
}
