use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use rand::{TryRngCore, rngs::OsRng};
use sha2::Sha256;
use sqlx::PgPool;
use thiserror::Error;
use zeroize::Zeroizing;

/// The bytes of a nonce before each ciphertext.
const NONCE_LEN: usize = 24;
/// How often the secrets file is read again at most: what does not open must not cost a read each time.
const REREAD_EVERY: Duration = Duration::from_secs(1);

/// The setting that says with which keys the database was begun, or to which it was rotated.
pub(crate) const FINGERPRINT: &str = "keys_fingerprint";
/// The setting with the id of the master key under which all nodes seal.
pub(crate) const SEALING_KEY: &str = "sealing_key";

/// 32 random bytes of a secrets file.
type KeyBytes = Zeroizing<[u8; 32]>;
/// Where the master keys can be read again, the newest first; `None` when they cannot be read just now.
type Source = Arc<dyn Fn() -> Option<Vec<KeyBytes>> + Send + Sync>;

/// The keys from the secrets file on which everything secret in the log rests. All nodes have the same.
pub struct MasterKeys {
    wrapping: RwLock<Arc<Wrapping>>,
    digest: KeyBytes,
    source: Option<Source>,
    reread_at: Mutex<Option<Instant>>,
}

/// The master keys that are known at a moment: one that seals, and others that still open.
#[derive(Clone)]
pub(crate) struct Wrapping {
    /// The newest first; never empty.
    keys: Vec<Arc<WrappingKey>>,
    sealing: usize,
}

struct WrappingKey {
    /// Says nothing about the key.
    id: String,
    key: SecretKey,
}

/// Why something sealed under a master key did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum OpenError {
    #[error("it was changed, or does not belong here")]
    Corrupt,
    #[error(
        "it is sealed under a master key that the secrets file of this node does not have; \
         copy the file from where `weir keys rotate` was run"
    )]
    KeyUnknown,
}

impl MasterKeys {
    /// Keys of 32 random bytes each: `wrapping` encrypts the vault and the keys of accounts, `digest` makes the keyed
    /// digests of usernames and set-up tokens, and the refresh tokens.
    #[must_use]
    pub fn new(wrapping: Zeroizing<[u8; 32]>, digest: Zeroizing<[u8; 32]>) -> Self {
        let wrapping = Wrapping { keys: vec![Arc::new(WrappingKey::new(wrapping))], sealing: 0 };
        Self { wrapping: RwLock::new(Arc::new(wrapping)), digest, source: None, reread_at: Mutex::default() }
    }

    /// With wrapping keys of before as well, which open what is not sealed anew yet.
    #[must_use]
    pub fn with_former(self, former: impl IntoIterator<Item = Zeroizing<[u8; 32]>>) -> Self {
        let mut wrapping = (*self.wrapping()).clone();
        wrapping.keys.extend(former.into_iter().map(|key| Arc::new(WrappingKey::new(key))));
        Self { wrapping: RwLock::new(Arc::new(wrapping)), ..self }
    }

    /// With a way to read the wrapping keys again, the newest first, for when another process has rotated them; `None` says
    /// that it cannot be done just now. It may block for as long as reading a file does.
    #[must_use]
    pub fn reread_by(self, source: impl Fn() -> Option<Vec<Zeroizing<[u8; 32]>>> + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// The wrapping keys as they are known now.
    pub(crate) fn wrapping(&self) -> Arc<Wrapping> {
        Arc::clone(&self.wrapping.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was sealed with `context` under the key of this id, or under any where that was not kept. Reads the secrets
    /// file again when the key is not known.
    pub(crate) async fn open(
        &self,
        sealed_under: Option<&str>,
        sealed: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let wrapping = self.wrapping();
        if let Some(opened) = wrapping.open(sealed, context) {
            return Ok(opened);
        }
        if sealed_under.is_none_or(|id| wrapping.knows(id)) {
            return Err(OpenError::Corrupt);
        }
        self.reread().await;
        let wrapping = self.wrapping();
        let is_known = sealed_under.is_none_or(|id| wrapping.knows(id));
        wrapping.open(sealed, context).ok_or(if is_known { OpenError::Corrupt } else { OpenError::KeyUnknown })
    }

    /// Takes over under which key all nodes seal; `false` when this node does not have it.
    pub(crate) async fn learn_sealing(&self, pool: &PgPool) -> Result<bool, sqlx::Error> {
        let id: Option<String> = sqlx::query_scalar("select value from log.settings where name = $1")
            .bind(SEALING_KEY)
            .fetch_optional(pool)
            .await?;
        let Some(id) = id else { return Ok(false) };
        if self.seal_under(&id) {
            return Ok(true);
        }
        self.reread().await;
        Ok(self.seal_under(&id))
    }

    /// Whether this database was begun with these keys, or rotated to them; a new one takes them. What it is sealed under
    /// from now on is learnt.
    pub(crate) async fn belong_to(&self, pool: &PgPool) -> Result<bool, sqlx::Error> {
        sqlx::query("insert into log.settings (name, value) values ($1, $2) on conflict (name) do nothing")
            .bind(FINGERPRINT)
            .bind(self.fingerprint(self.wrapping().newest()))
            .execute(pool)
            .await?;
        let begun_with: String = sqlx::query_scalar("select value from log.settings where name = $1")
            .bind(FINGERPRINT)
            .fetch_one(pool)
            .await?;
        let wrapping = self.wrapping();
        let Some(key) = wrapping.keys.iter().find(|key| self.fingerprint(key) == begun_with) else {
            return Ok(false);
        };
        sqlx::query("insert into log.settings (name, value) values ($1, $2) on conflict (name) do nothing")
            .bind(SEALING_KEY)
            .bind(&key.id)
            .execute(pool)
            .await?;
        self.learn_sealing(pool).await
    }

    /// Whether one of the keys has this fingerprint.
    pub(crate) fn has_fingerprint(&self, fingerprint: &str) -> bool {
        self.wrapping().keys.iter().any(|key| self.fingerprint(key) == fingerprint)
    }

    /// The fingerprint that a database has which was rotated to the newest key.
    pub(crate) fn newest_fingerprint(&self) -> String {
        self.fingerprint(self.wrapping().newest())
    }

    /// HMAC-SHA256 of `parts`. Each part is preceded by its length, so that no two lists of parts give the same input;
    /// the first names the use.
    pub(crate) fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.digest.as_slice()).expect("HMAC takes any key length");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Seals under the key of this id from now on; `false` when it is not known.
    pub(crate) fn seal_under(&self, id: &str) -> bool {
        let mut wrapping = self.wrapping.write().unwrap_or_else(PoisonError::into_inner);
        let Some(sealing) = wrapping.keys.iter().position(|key| key.id == id) else { return false };
        Arc::make_mut(&mut wrapping).sealing = sealing;
        true
    }

    /// Adds what the secrets file has now; nothing is forgotten.
    async fn reread(&self) {
        let Some(source) = self.source.clone() else { return };
        {
            let mut reread_at = self.reread_at.lock().unwrap_or_else(PoisonError::into_inner);
            if reread_at.is_some_and(|reread_at| reread_at.elapsed() < REREAD_EVERY) {
                return;
            }
            *reread_at = Some(Instant::now());
        }
        let Ok(Some(read)) = tokio::task::spawn_blocking(move || source()).await else { return };
        let mut wrapping = self.wrapping.write().unwrap_or_else(PoisonError::into_inner);
        let sealing = wrapping.sealing().id.clone();
        let read = read.into_iter().map(|key| Arc::new(WrappingKey::new(key)));
        let mut known = HashSet::new();
        let keys: Vec<_> =
            read.chain(wrapping.keys.iter().cloned()).filter(|key| known.insert(key.id.clone())).collect();
        let sealing = keys.iter().position(|key| key.id == sealing).expect("what was known still is");
        *wrapping = Arc::new(Wrapping { keys, sealing });
    }

    /// By which a database knows its keys again; says nothing about them.
    fn fingerprint(&self, key: &WrappingKey) -> String {
        hex::encode(self.digest(&[b"fingerprint", &key.key.mac(b"fingerprint")]))
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MasterKeys(…)")
    }
}

impl Wrapping {
    /// The id of the key that seals.
    pub(crate) fn sealing_id(&self) -> &str {
        &self.sealing().id
    }

    /// The id of the newest key, which seals once a rotation to it has begun.
    pub(crate) fn newest_id(&self) -> &str {
        &self.newest().id
    }

    /// Seals under the key that seals.
    pub(crate) fn seal(&self, plain: &[u8], context: &[u8]) -> Vec<u8> {
        self.sealing().key.seal(plain, context)
    }

    /// What one of the keys has sealed.
    pub(crate) fn open(&self, sealed: &[u8], context: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let first = self.sealing().key.open(sealed, context);
        first.or_else(|| self.keys.iter().find_map(|key| key.key.open(sealed, context)))
    }

    fn knows(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    fn sealing(&self) -> &WrappingKey {
        &self.keys[self.sealing]
    }

    fn newest(&self) -> &WrappingKey {
        &self.keys[0]
    }
}

impl WrappingKey {
    fn new(key: KeyBytes) -> Self {
        let key = SecretKey(key);
        Self { id: hex::encode(&key.mac(b"id")[..8]), key }
    }
}

/// A key of XChaCha20-Poly1305, wiped when dropped.
pub(crate) struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    pub(crate) fn random() -> Self {
        Self(Zeroizing::new(random()))
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.0.as_slice()
    }

    fn mac(&self, what: &[u8]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.expose()).expect("HMAC takes any key length");
        mac.update(what);
        mac.finalize().into_bytes().into()
    }

    /// Nonce and ciphertext of `plain`, bound to `context`: it opens with the same context only.
    pub(crate) fn seal(&self, plain: &[u8], context: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        let sealed = XChaCha20Poly1305::new(Key::from_slice(self.0.as_slice()))
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad: context })
            .expect("a message is shorter than 256 GB");
        [nonce.as_slice(), &sealed].concat()
    }

    /// What [`Self::seal`] sealed; `None` when it was changed, or sealed with another key or context.
    pub(crate) fn open(&self, sealed: &[u8], context: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        XChaCha20Poly1305::new(Key::from_slice(self.0.as_slice()))
            .decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: context })
            .ok()
            .map(Zeroizing::new)
    }
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).expect("the system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(wrapping: u8) -> MasterKeys {
        MasterKeys::new(Zeroizing::new([wrapping; 32]), Zeroizing::new([2; 32]))
    }

    #[test]
    fn a_sealed_text_opens_in_its_own_context_only() {
        let key = SecretKey::random();
        let sealed = key.seal(b"text", b"here");
        assert_eq!(key.open(&sealed, b"here").unwrap().as_slice(), b"text");
        assert!(key.open(&sealed, b"there").is_none());
        assert!(SecretKey::random().open(&sealed, b"here").is_none());
        assert!(key.open(&sealed[..10], b"here").is_none());
    }

    #[test]
    fn digests_keep_their_parts_apart() {
        let keys = keys(1);
        assert_ne!(keys.digest(&[b"ab", b"c"]), keys.digest(&[b"a", b"bc"]));
        assert_eq!(keys.digest(&[b"ab", b"c"]), keys.digest(&[b"ab", b"c"]));
    }

    #[tokio::test]
    async fn what_any_of_the_keys_sealed_opens() {
        let sealed = keys(1).wrapping().seal(b"text", b"here");
        let id = keys(1).wrapping().sealing_id().to_owned();
        let rotated = keys(3).with_former([Zeroizing::new([1; 32])]);
        for under in [None, Some(id.as_str())] {
            assert_eq!(rotated.open(under, &sealed, b"here").await.unwrap().as_slice(), b"text");
            assert_eq!(rotated.open(under, &sealed, b"there").await.unwrap_err(), OpenError::Corrupt);
        }
        assert_eq!(keys(3).open(Some(&id), &sealed, b"here").await.unwrap_err(), OpenError::KeyUnknown);
        assert_eq!(keys(3).open(None, &sealed, b"here").await.unwrap_err(), OpenError::Corrupt);
    }

    #[tokio::test]
    async fn a_key_that_is_not_known_is_looked_for_in_the_file() {
        let sealed = keys(3).wrapping().seal(b"text", b"here");
        let id = keys(3).wrapping().sealing_id().to_owned();
        let running = keys(1).reread_by(|| Some(vec![Zeroizing::new([3; 32]), Zeroizing::new([1; 32])]));
        assert!(!running.seal_under(&id));
        assert_eq!(running.open(Some(&id), &sealed, b"here").await.unwrap().as_slice(), b"text");
        assert_ne!(running.wrapping().sealing_id(), id, "it seals under another only when all are told to");
        assert!(running.seal_under(&id));
        assert_eq!((running.wrapping().sealing_id(), running.wrapping().newest_id()), (id.as_str(), id.as_str()));
        let old = keys(1).wrapping().seal(b"old", b"here");
        assert_eq!(running.wrapping().open(&old, b"here").unwrap().as_slice(), b"old");
    }
}
