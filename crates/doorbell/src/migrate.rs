//! `doorbell migrate`: brings the tables of a database to this version.

use std::process::ExitCode;

use anyhow::Result;
use doorbell_service::config::DatabaseArgs;
use doorbell_store::{Migrated, Migration};

use crate::{output, transfer};

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Remove what only older versions use; none of them may be running, or start again
    #[arg(long)]
    contract: bool,

    #[command(flatten)]
    database: DatabaseArgs,
}

const EXAMPLES: &str = "\
Examples:
  doorbell migrate --database postgres://doorbell@db.example.org/doorbell
                             of the new version, while the old one serves
  systemctl restart doorbell                         with the new version
  doorbell migrate --contract \\
      --database postgres://doorbell@db.example.org/doorbell
                             once the old version will not come back

Until --contract was run, the old version can be started again. Interrupted at any moment, the same command continues. \
`doorbell serve` never changes the tables of a database that has some.";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let options = transfer::database(args.database)?.options(None);
    let migration = if args.contract { Migration::Contract } else { Migration::Expand };
    let migrated = tokio::task::spawn_blocking(move || migration.run(&options)).await;
    output::result(line(transfer::finished(migrated)?))?;
    Ok(ExitCode::SUCCESS)
}

fn line(Migrated { from, to, oldest }: Migrated) -> String {
    let now = if from == to { format!("schema {to}") } else { format!("schema {to}, from {from}") };
    let versions = if oldest == to {
        "older versions cannot use it".to_owned()
    } else {
        format!("versions from schema {oldest} on can use it")
    };
    format!("{now}; {versions}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_schema_and_who_can_use_it() {
        let line = |from, to, oldest| line(Migrated { from, to, oldest });
        assert_eq!(line(1, 2, 1), "schema 2, from 1; versions from schema 1 on can use it");
        assert_eq!(line(2, 2, 2), "schema 2; older versions cannot use it");
    }
}
