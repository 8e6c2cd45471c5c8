//! `doorbell import`: moves a service's messages from its state directory to a database.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use doorbell_service::config::DatabaseArgs;
use doorbell_service::{bind_to_cluster, cluster_for};
use doorbell_store::transfer::Progress;

use crate::browser::status;
use crate::transfer;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The state directory of the service, which must be stopped
    #[arg(long, value_name = "DIR")]
    from_sqlite: PathBuf,

    #[command(flatten)]
    database: DatabaseArgs,
}

const EXAMPLES: &str = "\
Examples:
  systemctl stop doorbell
  doorbell import --from-sqlite /var/lib/doorbell \\
      --database postgres://doorbell@db.example.org/doorbell
  doorbell serve --state-dir /var/lib/doorbell \\
      --database postgres://doorbell@db.example.org/doorbell

It moves agents, subscriptions, messages, receipts and the service's clock to an empty database, then reads both sides \
and prints the count and the SHA-256 of each table. Interrupted at any moment, the same command continues; until it is \
complete, `doorbell serve` refuses the database. Run it as the user of the service.

The keys that open the service's URLs stay in the state directory, so give the same one to `doorbell serve` and keep it. \
doorbell.db in it is not changed and not used any more. `doorbell export` is the way back.";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let database = transfer::database(args.database)?;
    let dir = args.from_sqlite;
    transfer::keys_of(&dir)?;
    transfer::refuse_cells(&dir)?;
    let cluster = cluster_for(&dir)?;
    let options = database.options(Some(cluster.clone()));
    let there = dir.clone();
    let import = move |progress: &mut (dyn FnMut(Progress) + Send)| {
        let bind = || bind_to_cluster(&there, &cluster).map_err(io::Error::other);
        doorbell_store::transfer::import(&there, &options, progress, bind)
    };
    let report = transfer::run(import).await?;
    transfer::print(&report)?;
    status(&format!(
        "start `doorbell serve --state-dir {} --database …`; doorbell.db there is not used any more: move it away once \
         the service runs well",
        transfer::word(&dir)
    ));
    Ok(ExitCode::SUCCESS)
}
