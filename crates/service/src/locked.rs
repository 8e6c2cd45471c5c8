//! A mutex that stays usable after a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value behind a mutex.
///
/// A connection's task that panics must not take the other connections down, so a poisoned lock is opened. Use it only
/// for values that stay whole: each change while the lock is held is one call, or replaces the value.
#[derive(Debug, Default)]
pub(crate) struct Locked<T>(Mutex<T>);

impl<T> Locked<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Waits for the lock. A `Drop` may call it while a panic unwinds: it never panics.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
