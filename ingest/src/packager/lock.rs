//! A mutex whose holder does not panic half-way.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A mutex without poisoning: what it guards here is replaced or appended to whole, so a panic elsewhere in a
/// connection leaves it fit for use, and one broken connection must not take the origin with it.
pub(super) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
