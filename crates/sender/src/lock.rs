//! Locks of the library's maps: none of them is poisoned.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. After a panic of another thread the map is still whole: each change is one call.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
