//! What `doorbell import` and `doorbell export` share: the database, the progress and the proof.

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorbell_service::config::{DatabaseArgs, DatabaseSettings};
use doorbell_service::prepare_state_dir;
use doorbell_store::Store;
use doorbell_store::transfer::{Progress, Report, TransferError};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{MissedTickBehavior, interval};

use crate::browser::status;
use crate::output;
use crate::serve::{PASSWORD_IS_VISIBLE, password_is_visible};
use crate::shell::quoted;

/// The file with the keys that open a service's URLs.
pub(crate) const KEYS: &str = "capability.keys";

/// How often a line is printed: to a person, and to a log.
const TO_A_TERMINAL: Duration = Duration::from_secs(1);
const TO_A_LOG: Duration = Duration::from_secs(30);

/// The database of the arguments.
pub(crate) fn database(args: DatabaseArgs) -> Result<DatabaseSettings> {
    if password_is_visible() {
        status(PASSWORD_IS_VISIBLE);
    }
    args.database()?.context("give --database: postgres://USER@HOST/DATABASE, or --config FILE with it")
}

/// Checks that `dir` is a state directory that this user may use, and returns its file with the keys.
pub(crate) fn keys_of(dir: &Path) -> Result<PathBuf> {
    let shown = dir.display();
    ensure!(dir.is_dir(), "{shown} is no directory: name the state directory of the service");
    prepare_state_dir(dir)?;
    let keys = dir.join(KEYS);
    ensure!(
        keys.exists(),
        "{shown} has no {KEYS}, without which no URL of the service works: restore it from a backup"
    );
    Ok(keys)
}

/// Refuses the state directory of a service with several cells, of which a move would take only the first.
pub(crate) fn refuse_cells(dir: &Path) -> Result<()> {
    ensure!(
        !Store::has_cells(dir),
        "the service of {} has several cells, and this would move only the first: go on with `doorbell serve` and its \
         `cells`",
        dir.display()
    );
    Ok(())
}

/// Runs a move and prints how far it is.
pub(crate) async fn run<W>(work: W) -> Result<Report>
where
    W: FnOnce(&mut (dyn FnMut(Progress) + Send)) -> Result<Report, TransferError> + Send + 'static,
{
    let (latest, mut progress) = watch::channel(None);
    let mut work = tokio::task::spawn_blocking(move || {
        work(&mut |now| {
            latest.send_replace(Some(now));
        })
    });
    let mut lines = interval(if stderr().is_terminal() { TO_A_TERMINAL } else { TO_A_LOG });
    lines.set_missed_tick_behavior(MissedTickBehavior::Delay);
    lines.tick().await;
    loop {
        tokio::select! {
            done = &mut work => {
                return Ok(finished(done)?);
            }
            _ = lines.tick() => {
                if let Some(progress) = *progress.borrow_and_update() {
                    status(&progress.to_string());
                }
            }
        }
    }
}

/// What a blocking task returned. Its panic goes on here: no such task is cancelled.
pub(crate) fn finished<T>(joined: Result<T, JoinError>) -> T {
    match joined {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Prints the count and the checksum of each table on both sides.
pub(crate) fn print(report: &Report) -> Result<()> {
    for table in &report.tables {
        output::result(format_args!(
            "{:<20} source {:>12} rows  SHA-256 {}",
            table.table, table.source_rows, table.source_sum
        ))?;
        output::result(format_args!("{:<20} target {:>12} rows  SHA-256 {}", "", table.target_rows, table.target_sum))?;
    }
    let before = if report.was_complete { "an earlier run had moved everything; " } else { "" };
    status(&format!("{before}source and target are the same in every table"));
    Ok(())
}

/// A path as a word of a command.
pub(crate) fn word(path: &Path) -> String {
    quoted(&path.display().to_string())
}
