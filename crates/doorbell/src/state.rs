//! Where this machine's state is kept, for the verbs that look there for keys, profiles and the throw-away CA.

use std::path::PathBuf;

use doorbell_service::config::default_state_dir;

/// The directory that `doorbell serve` uses when it is not told otherwise.
pub(crate) fn state_dir() -> Option<PathBuf> {
    std::env::var_os("DOORBELL_STATE_DIR").map(PathBuf::from).or_else(default_state_dir)
}
