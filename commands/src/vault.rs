//! Secrets that events refer to but must not hold, encrypted under the master key.

use crate::{Commands, LoadError};

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Secrets that nothing refers to: the command failed that was to use them, or they were replaced.
    pub secrets: u64,
    /// Keys of accounts that never came to be.
    pub keys: u64,
}

/// Removes secrets and keys that are older than an hour and that nothing in the log refers to. To be called now and
/// then; several processes may do it at once.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read; what was removed stays removed.
pub async fn sweep(commands: &Commands) -> Result<Swept, LoadError> {
    let _ = commands;
    todo!()
}
