use std::{sync::Arc, thread::available_parallelism, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version, password_hash::SaltString,
};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};
use zeroize::Zeroizing;

use crate::{CommandError, error::BoxError, master_keys::random};

/// How long somebody waits for a hash before they are told to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// A hash of no password, with the same work in it, for usernames that nobody has.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes passwords with argon2id (19 MiB, two passes), on half of the processors at once: a storm of sign-ins takes no more
/// memory than that many times 19 MiB, and leaves the other half to everybody else. Who waits for longer than [`PATIENCE`]
/// is told to come back.
pub(crate) struct Passwords {
    threads: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self { threads: Arc::new(Semaphore::new((processors / 2).max(1))) }
    }
}

impl Passwords {
    /// The hash of a new password, with a salt of its own.
    pub(crate) async fn hash<R>(&self, password: Zeroizing<String>) -> Result<Zeroizing<String>, CommandError<R>> {
        self.work(move || {
            let salt = SaltString::encode_b64(&random::<16>()).map_err(text)?;
            argon2()?
                .hash_password(password.as_bytes(), &salt)
                .map(|hash| Zeroizing::new(hash.to_string()))
                .map_err(text)
        })
        .await
    }

    /// Whether `hash` is of `password`; `false` after the same work where there is no hash.
    pub(crate) async fn verify<R>(
        &self,
        password: Zeroizing<String>,
        hash: Option<Zeroizing<String>>,
    ) -> Result<bool, CommandError<R>> {
        self.work(move || {
            let hash = hash.as_ref().map_or(NOBODY, |hash| hash.as_str());
            let parsed = PasswordHash::new(hash).map_err(text)?;
            // The parameters are those that the hash was made with.
            match Argon2::default().verify_password(password.as_bytes(), &parsed) {
                Ok(()) => Ok(true),
                Err(argon2::password_hash::Error::Password) => Ok(false),
                Err(error) => Err(text(error)),
            }
        })
        .await
    }

    async fn work<T: Send + 'static, R>(
        &self,
        work: impl FnOnce() -> Result<T, BoxError> + Send + 'static,
    ) -> Result<T, CommandError<R>> {
        let permit = timeout(PATIENCE, Arc::clone(&self.threads).acquire_owned())
            .await
            .map_err(|_| CommandError::Overloaded)?
            .expect("the semaphore is never closed");
        let work = move || {
            // Held by the thread, which goes on when nobody waits any more.
            let _permit = permit;
            work()
        };
        spawn_blocking(work)
            .await
            .map_err(|error| CommandError::Unexpected(error.into()))?
            .map_err(CommandError::Unexpected)
    }
}

fn argon2() -> Result<Argon2<'static>, BoxError> {
    let params = Params::new(19_456, 2, 1, None).map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// argon2's errors are errors only with a feature that is off.
fn text(error: argon2::password_hash::Error) -> BoxError {
    error.to_string().into()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn a_hash_is_of_its_password_only() {
        let passwords = Passwords::default();
        let plain = || Zeroizing::new("correct horse".to_owned());
        let hash = passwords.hash::<Infallible>(plain()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(passwords.verify::<Infallible>(plain(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify::<Infallible>(Zeroizing::new("wrong".to_owned()), Some(hash)).await.unwrap());
        assert!(!passwords.verify::<Infallible>(plain(), None).await.unwrap());
    }
}
