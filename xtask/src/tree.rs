//! Where things lie in the project's tree.

use std::path::{Path, PathBuf};

/// The workspace's folder: the parent of this crate's.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask is a folder of the workspace").to_path_buf()
}

/// Scratch files of the task runner: logs, the Python environment.
pub(crate) fn scratch() -> PathBuf {
    root().join("target").join("xtask")
}

/// The Python environment of the foreign senders; the integration tests look for it at the same place.
pub(crate) fn python_environment() -> PathBuf {
    root().join("target").join("e2e-python")
}

/// The Python environment of Patroni; the store's tests look for it at the same place.
pub(crate) fn patroni_environment() -> PathBuf {
    root().join("target").join("patroni-python")
}

/// What Patroni needs.
pub(crate) fn patroni() -> PathBuf {
    root().join("e2e").join("patroni")
}

/// What comes from npm: the foreign senders, and axe, which judges the demo's page.
pub(crate) fn npm() -> [PathBuf; 2] {
    [senders(), root().join("e2e").join("axe")]
}

/// The foreign senders.
pub(crate) fn senders() -> PathBuf {
    root().join("e2e").join("senders")
}

/// The Rust senders, a workspace of their own.
pub(crate) fn rust_senders() -> PathBuf {
    senders().join("rust")
}
