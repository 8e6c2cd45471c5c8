//! This process's limit of open files: each connection is one.

use doorbell_service::config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files that are open in addition to connections, or may have to be: the store's, listening sockets, the connections of
/// an operator and to a certificate authority. Of a small limit they have a quarter.
const OTHER_FILES: u64 = 128;

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
pub(crate) fn fitted(mut config: Config) -> Config {
    let (allowed, wanted) = (raise_limit(), config.limits.connections_max);
    let most = connections_within(allowed);
    if wanted > most {
        config.lower_connections(most);
        warn!(
            allowed,
            wanted,
            connections_max = most,
            "the limit of open files is below connections_max, which is lowered: raise it (LimitNOFILE, ulimit -n)"
        );
    }
    config
}

/// How many connections fit.
fn connections_within(allowed: u64) -> usize {
    let most = allowed - OTHER_FILES.min(allowed / 4);
    usize::try_from(most).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_everything_else() {
        assert_eq!([0, 4, 256, 1024, 65_536].map(connections_within), [1, 3, 192, 896, 65_408]);
    }
}
