//! Locks of the demo: none of them is poisoned.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. Where a thread panicked with the lock, what it guards is still whole: each change is one call of a map, one
/// statement or one transaction.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
