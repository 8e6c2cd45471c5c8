//! This process's limit of open files: each connection is one.

use anyhow::{Result, ensure};
use doorbell_service::config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files that are open in addition to connections, or may have to be: some 40 of a service at rest (its store, its threads,
/// a listening socket), 32 connections to the admin listener, 16 to the control socket, and those of a reload, of a
/// compaction, and to a certificate authority.
const OTHER_FILES: u64 = 128;
/// With fewer for connections, a service is useless.
const CONNECTIONS_MIN: u64 = 16;

/// Raises the limit as far as the system allows: how many files may be open now.
pub(crate) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        warn!(%error, "cannot raise the limit of open files");
    }
    // Without a number the system sets no limit.
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit for a service, and lowers the number of its connections, with a warning, if the limit stays too low:
/// otherwise a flood of connections would take the files that the store needs.
///
/// # Errors
/// The limit is too low for any service: how to raise it.
pub(crate) fn fitted(mut config: Config) -> Result<Config> {
    let (allowed, wanted) = (raise_limit(), config.limits.connections_max);
    let others = other_files(config.place.listen.len());
    let least = others + CONNECTIONS_MIN;
    ensure!(
        allowed >= least,
        "this process may have {allowed} open files, and the service needs at least {least}, and one more for each further \
         connection: raise the limit with `ulimit -n 65536` in the shell that starts it, or LimitNOFILE=65536 in its \
         systemd unit"
    );
    let most = usize::try_from(allowed - others).unwrap_or(usize::MAX);
    if wanted > most {
        config.lower_connections(most);
        warn!(
            allowed,
            wanted,
            connections_max = most,
            "the limit of open files is below connections_max, which is lowered: raise it (LimitNOFILE, ulimit -n)"
        );
    }
    Ok(config)
}

/// The files that connections must leave, with so many listeners.
fn other_files(listeners: usize) -> u64 {
    OTHER_FILES + u64::try_from(listeners.saturating_sub(1)).expect("the settings bound the listeners")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_everything_else() {
        assert_eq!([0, 1, 2, 64].map(other_files), [128, 128, 129, 191]);
    }
}
