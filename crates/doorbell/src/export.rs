//! `doorbell export`: moves a service's messages from a database to a state directory.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use doorbell_private_file as private_file;
use doorbell_service::config::DatabaseArgs;
use doorbell_service::{cluster_of, prepare_state_dir, release_from_cluster};

use doorbell_store::Cluster;
use doorbell_store::transfer::Progress;

use crate::browser::status;
use crate::{state, transfer};

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The directory for the store: that of --state-dir without a doorbell.db, or a new one
    #[arg(long, value_name = "DIR")]
    to_sqlite: PathBuf,

    /// The state directory of the service, which has its keys and must be stopped [default: DIR if that has them, else
    /// the one of `doorbell serve`]
    #[arg(long, env = "DOORBELL_STATE_DIR", hide_env = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    #[command(flatten)]
    database: DatabaseArgs,
}

const EXAMPLES: &str = "\
Examples:
  systemctl stop doorbell
  mv /var/lib/doorbell/doorbell.db /var/backups/
  doorbell export --to-sqlite /var/lib/doorbell \\
      --database postgres://doorbell@db.example.org/doorbell
  doorbell serve --state-dir /var/lib/doorbell

It moves everything that `doorbell import` moves, the other way. Interrupted at any moment, the same command continues; \
until it is complete, `doorbell serve` refuses the directory. The database is not changed. Run it as the user of the \
service.

A new directory gets a copy of the keys that open the service's URLs. Copy the other files of the state directory \
yourself if you use them: ca.key and ca.pem of the self-signed CA, acme/.";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let database = transfer::database(args.database)?;
    let dir = args.to_sqlite;
    let bound = cluster_of(&dir)?;
    let from = match args.state_dir {
        Some(given) => given,
        None if bound.is_some() => dir.clone(),
        None => state::state_dir().context("there is no home directory: give --state-dir")?,
    };
    let keys = transfer::keys_of(&from)?;
    transfer::refuse_cells(&from)?;
    transfer::refuse_cells(&dir)?;
    let Some(cluster) = cluster_of(&from)? else {
        bail!(
            "the service of the state directory {} has no database: give the state directory of the service that uses \
             it with --state-dir",
            from.display()
        );
    };
    ensure!(
        bound.is_none_or(|bound| bound == cluster),
        "{} belongs to a service with another database: name another directory",
        dir.display()
    );
    prepare_state_dir(&dir)?;
    copy_keys(&keys, &dir)?;
    let (options, there) = (database.options(Some(Cluster::Bound(cluster))), dir.clone());
    let export = move |progress: &mut (dyn FnMut(Progress) + Send)| {
        let release = || release_from_cluster(&there).map_err(io::Error::other);
        doorbell_store::transfer::export(&options, &there, progress, release)
    };
    let report = transfer::run(export).await?;
    transfer::print(&report)?;
    status(&format!(
        "start `doorbell serve --state-dir {}` without --database; do not start it with the database again, which \
         misses what is accepted from now on",
        transfer::word(&dir)
    ));
    Ok(ExitCode::SUCCESS)
}

/// Copies the keys to `dir`, unless they are there.
fn copy_keys(keys: &Path, dir: &Path) -> Result<()> {
    let copy = dir.join(transfer::KEYS);
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let contents = read(keys)?;
    match private_file::create_new(&copy, &contents) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => ensure!(
            read(&copy)? == contents,
            "{} has other keys than {}, and opens other URLs: name an empty directory",
            copy.display(),
            keys.display()
        ),
        created => created.with_context(|| format!("cannot write {}", copy.display()))?,
    }
    Ok(())
}
