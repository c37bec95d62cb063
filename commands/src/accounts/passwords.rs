use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
    time::Duration,
};

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::{Output, ParamsString, SaltString},
};
use subtle::ConstantTimeEq;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};
use zeroize::Zeroizing;

use super::PasswordCost;
use crate::{CommandError, error::BoxError, master_keys::random};

/// How long somebody waits for a hash before they are told to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hashes passwords with argon2id at the cost that the operator has set, on half of the processors at once: a storm of sign-ins
/// takes no more memory than that many times the memory of one, and leaves the other half to everybody else. Who waits for longer
/// than [`PATIENCE`] is told to come back.
///
/// That memory is kept once it was needed. Allocated anew for each hash, it would stay with the allocator for every thread that ever
/// made one, which are many.
pub(crate) struct Passwords {
    cost: PasswordCost,
    /// A hash of no password, at the same cost, for usernames that nobody has.
    nobody: Arc<str>,
    threads: Arc<Semaphore>,
    /// Those that nobody works in: never more than there are permits.
    memories: Arc<Mutex<Vec<Vec<Block>>>>,
}

/// What came of checking a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) is_right: bool,
    /// Whether its hash costs less than one that is made now.
    pub(crate) is_outdated: bool,
}

/// How many passwords are hashed at once on this machine.
#[must_use]
pub fn hashed_at_once() -> usize {
    (available_parallelism().map_or(1, usize::from) / 2).max(1)
}

impl Passwords {
    pub(crate) fn new(cost: PasswordCost) -> Self {
        let (salt, hash) = ("A".repeat(22), "A".repeat(43));
        let (memory_kib, passes) = (1_024 * cost.memory_mib(), cost.passes());
        let nobody = format!("$argon2id$v=19$m={memory_kib},t={passes},p=1${salt}${hash}").into();
        Self { cost, nobody, threads: Arc::new(Semaphore::new(hashed_at_once())), memories: Arc::default() }
    }

    /// The hash of a new password, with a salt of its own.
    pub(crate) async fn hash<R>(&self, password: Zeroizing<String>) -> Result<Zeroizing<String>, CommandError<R>> {
        let cost = self.cost;
        self.work(move |memory| {
            let (salt, params) = (random::<16>(), cost.params()?);
            let salt_text = SaltString::encode_b64(&salt).map_err(text)?;
            let hash = derive(&password, &salt, Version::V0x13, &params, Params::DEFAULT_OUTPUT_LEN, memory)?;
            let hash = PasswordHash {
                algorithm: Algorithm::Argon2id.ident(),
                version: Some(Version::V0x13.into()),
                params: ParamsString::try_from(&params).map_err(text)?,
                salt: Some(salt_text.as_salt()),
                hash: Some(Output::new(&hash).map_err(text)?),
            };
            Ok(Zeroizing::new(hash.to_string()))
        })
        .await
    }

    /// Whether `hash` is of `password`; `false` after the same work where there is no hash.
    pub(crate) async fn verify<R>(
        &self,
        password: Zeroizing<String>,
        hash: Option<Zeroizing<String>>,
    ) -> Result<bool, CommandError<R>> {
        Ok(self.check(password, hash).await?.is_right)
    }

    /// As [`verify`](Self::verify), and whether the hash should be made anew. A hash that costs less takes as long as one that is made
    /// now: what it lacks is worked beside it.
    pub(crate) async fn check<R>(
        &self,
        password: Zeroizing<String>,
        hash: Option<Zeroizing<String>>,
    ) -> Result<Checked, CommandError<R>> {
        let (cost, nobody) = (self.cost, Arc::clone(&self.nobody));
        self.work(move |memory| {
            let hash = hash.as_ref().map_or(&*nobody, |hash| hash.as_str());
            let parsed = PasswordHash::new(hash).map_err(text)?;
            let (Some(salt_text), Some(wanted), true) =
                (parsed.salt, parsed.hash, parsed.algorithm == Algorithm::Argon2id.ident())
            else {
                return Err("a password's hash is none of argon2id".into());
            };
            // The parameters are those that the hash was made with.
            let params = Params::try_from(&parsed).map_err(text)?;
            let version = parsed.version.map_or(Ok(Version::V0x13), Version::try_from).map_err(text)?;
            let mut salt = [0; 64];
            let salt = salt_text.decode_b64(&mut salt).map_err(text)?;
            let found = derive(&password, salt, version, &params, wanted.len(), memory)?;
            if let Some(beside) = cost.beside(&params) {
                derive(&password, salt, version, &beside, wanted.len(), memory)?;
            }
            Ok(Checked { is_right: found.ct_eq(wanted.as_bytes()).into(), is_outdated: cost.is_above(&params) })
        })
        .await
    }

    async fn work<T: Send + 'static, R>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> Result<T, BoxError> + Send + 'static,
    ) -> Result<T, CommandError<R>> {
        let permit = timeout(PATIENCE, Arc::clone(&self.threads).acquire_owned())
            .await
            .map_err(|_| CommandError::Overloaded)?
            .expect("the semaphore is never closed");
        let memories = Arc::clone(&self.memories);
        let work = move || {
            // Held by the thread, which goes on when nobody waits any more.
            let _permit = permit;
            let kept = || memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = kept().pop().unwrap_or_default();
            let done = work(&mut memory);
            kept().push(memory);
            done
        };
        spawn_blocking(work)
            .await
            .map_err(|error| CommandError::Unexpected(error.into()))?
            .map_err(CommandError::Unexpected)
    }
}

/// `length` bytes that only the password and the salt lead to, worked out in `memory`.
pub(super) fn derive(
    password: &str,
    salt: &[u8],
    version: Version,
    params: &Params,
    length: usize,
    memory: &mut Vec<Block>,
) -> Result<Zeroizing<Vec<u8>>, BoxError> {
    // The first pass writes all of it before anything is read, so that what is left there from the last hash does not matter.
    if memory.len() < params.block_count() {
        memory.resize(params.block_count(), Block::default());
    }
    let mut found = Zeroizing::new(vec![0; length]);
    let argon2 = Argon2::new(Algorithm::Argon2id, version, params.clone());
    argon2
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut found, &mut memory[..params.block_count()])
        .map_err(text)?;
    Ok(found)
}

/// argon2's errors are errors only with a feature that is off.
fn text(error: impl fmt::Display) -> BoxError {
    error.to_string().into()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn a_hash_is_of_its_password_only() {
        let passwords = Passwords::new(PasswordCost::LEAST);
        let plain = || Zeroizing::new("correct horse".to_owned());
        let hash = passwords.hash::<Infallible>(plain()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(passwords.verify::<Infallible>(plain(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify::<Infallible>(Zeroizing::new("wrong".to_owned()), Some(hash)).await.unwrap());
        assert!(!passwords.verify::<Infallible>(plain(), None).await.unwrap());
    }

    #[tokio::test]
    async fn hashes_are_those_that_argon2_makes_and_takes() {
        use argon2::{PasswordHasher, PasswordVerifier};
        let passwords = Passwords::new(PasswordCost::LEAST);
        let plain = || Zeroizing::new("correct horse".to_owned());
        let ours = passwords.hash::<Infallible>(plain()).await.unwrap();
        Argon2::default().verify_password(plain().as_bytes(), &PasswordHash::new(&ours).unwrap()).unwrap();
        // With other parameters than ours, after a hash of ours has filled the memory.
        let salt = SaltString::encode_b64(&[7; 16]).unwrap();
        let small = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(1_024, 3, 2, Some(24)).unwrap());
        let theirs = small.hash_password(plain().as_bytes(), &salt).unwrap().to_string();
        assert!(passwords.verify::<Infallible>(plain(), Some(Zeroizing::new(theirs))).await.unwrap());
        assert!(passwords.verify::<Infallible>(plain(), Some(ours)).await.unwrap());
        assert!(passwords.memories.lock().unwrap().len() <= 1, "what is not in use at once shares a memory");
    }

    #[tokio::test]
    async fn a_hash_that_cost_less_is_outdated_and_nobodys_costs_as_much_as_one_that_is_made_now() {
        let plain = || Zeroizing::new("correct horse".to_owned());
        let [before, now] = [PasswordCost::LEAST, PasswordCost::new(20, 3).unwrap()].map(Passwords::new);
        let old = before.hash::<Infallible>(plain()).await.unwrap();
        let check = async |passwords: &Passwords, password: &str, hash: &Zeroizing<String>| {
            let password = Zeroizing::new(password.to_owned());
            let Checked { is_right, is_outdated } =
                passwords.check::<Infallible>(password, Some(hash.clone())).await.unwrap();
            (is_right, is_outdated)
        };
        assert_eq!(check(&before, "correct horse", &old).await, (true, false));
        assert_eq!(check(&now, "correct horse", &old).await, (true, true));
        assert_eq!(check(&now, "wrong", &old).await, (false, true));
        let new = now.hash::<Infallible>(plain()).await.unwrap();
        assert!(new.starts_with("$argon2id$v=19$m=20480,t=3,p=1$"));
        assert_eq!(check(&now, "correct horse", &new).await, (true, false));
        // Settings that went down again leave it alone.
        assert_eq!(check(&before, "correct horse", &new).await, (true, false));
        let params = |hash: &str| Params::try_from(&PasswordHash::new(hash).unwrap()).unwrap();
        let (nobodys, made) = (params(&now.nobody), params(&new));
        assert_eq!((nobodys.m_cost(), nobodys.t_cost()), (made.m_cost(), made.t_cost()));
        assert!(!now.verify::<Infallible>(plain(), None).await.unwrap());
    }
}
