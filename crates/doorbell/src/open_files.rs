//! This process's limit of open files: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files that are open in addition to connections: the store's, the logs', the listening socket.
const OTHER_FILES: u64 = 64;

/// Raises the limit as far as the system allows: how many files may be open now.
pub(crate) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        warn!(%error, "cannot raise the limit of open files");
    }
    // Without a number the system sets no limit.
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit for a service with this many connections, with a warning if it stays too low.
pub(crate) fn allow_connections(connections_max: usize) {
    let allowed = raise_limit();
    let needed = connections_max as u64 + OTHER_FILES;
    if allowed < needed {
        warn!(allowed, needed, "the limit of open files is below connections_max: raise it (LimitNOFILE, ulimit -n)");
    }
}
