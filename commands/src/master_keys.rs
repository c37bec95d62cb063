use std::fmt;

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use rand::{TryRngCore, rngs::OsRng};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The bytes of a nonce before each ciphertext.
const NONCE_LEN: usize = 24;

/// The two keys from the secrets file on which everything secret in the log rests. All nodes have the same.
pub struct MasterKeys {
    wrapping: SecretKey,
    digest: Zeroizing<[u8; 32]>,
}

impl MasterKeys {
    /// Keys of 32 random bytes each: `wrapping` encrypts the vault and the keys of accounts, `digest` makes the keyed
    /// digests of usernames and set-up tokens, and the refresh tokens.
    #[must_use]
    pub fn new(wrapping: Zeroizing<[u8; 32]>, digest: Zeroizing<[u8; 32]>) -> Self {
        Self { wrapping: SecretKey(wrapping), digest }
    }

    pub(crate) fn wrapping(&self) -> &SecretKey {
        &self.wrapping
    }

    /// By which a database knows its keys again; says nothing about them.
    pub(crate) fn fingerprint(&self) -> String {
        let mut wrapping =
            <Hmac<Sha256> as Mac>::new_from_slice(self.wrapping.expose()).expect("HMAC takes any key length");
        wrapping.update(b"fingerprint");
        hex::encode(self.digest(&[b"fingerprint", &wrapping.finalize().into_bytes()]))
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
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MasterKeys(…)")
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
        let keys = MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
        assert_ne!(keys.digest(&[b"ab", b"c"]), keys.digest(&[b"a", b"bc"]));
        assert_eq!(keys.digest(&[b"ab", b"c"]), keys.digest(&[b"ab", b"c"]));
    }
}
