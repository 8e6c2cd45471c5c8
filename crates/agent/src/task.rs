//! The results of tasks that this crate spawns.

use std::panic::resume_unwind;

use tokio::task::JoinError;

/// The output of a task; `None` if it was aborted, by us or by the end of the runtime. A panic in it goes on here: it
/// is a bug, and a task that only disappeared would hide it.
pub(crate) fn joined<T>(result: Result<T, JoinError>) -> Option<T> {
    match result {
        Ok(output) => Some(output),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_aborted) => None,
        },
    }
}
