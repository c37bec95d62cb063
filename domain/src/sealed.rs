//! Personal data in events: ciphertext under a key per account, which erasure destroys.

use std::{borrow::Cow, fmt, future::Future, pin::Pin};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

use crate::ids::AccountId;

/// Personal data: text sealed under the key of `account_id` (XChaCha20-Poly1305), which only Weir can open, and nobody
/// once that account is erased.
///
/// In JSON `{"account_id": …, "ciphertext": <base64 of nonce and ciphertext, no padding>}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Sealed personal data")]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Whose key it is under.
    pub account_id: AccountId,
    /// The 24 bytes of nonce, then the ciphertext with its tag; in base64 without padding. Only Weir can open it, and nobody
    /// once the account is erased.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    #[schemars(with = "String")]
    pub ciphertext: Vec<u8>,
}

/// What a [`Sealed`] holds, or that its key is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The plain text.
    Text(String),
    /// The key was destroyed: the person was erased, or the time of what was sealed for a while is over.
    Erased,
}

impl Opened {
    /// The text, or `placeholder` for an erased person.
    #[must_use]
    pub fn or(self, placeholder: &str) -> String {
        match self {
            Self::Text(text) => text,
            Self::Erased => placeholder.to_owned(),
        }
    }
}

/// Why sealed data could not be opened just now. A destroyed key is no error: that is [`Opened::Erased`].
#[derive(Debug, Error)]
pub enum KeyringError {
    /// The place where keys are kept did not answer; try again.
    #[error("the keys could not be read")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The ciphertext was changed, or sealed under another master key.
    #[error("the data sealed for account {0} does not open with its key")]
    Corrupt(AccountId),
}

/// A boxed future: what makes [`Keyring`] usable as a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens sealed data. `commands` implements it; projections and processes are handed it.
pub trait Keyring: Send + Sync {
    /// Opens all of `sealed`, in their order.
    fn open<'a>(&'a self, sealed: Vec<Cow<'a, Sealed>>) -> BoxFuture<'a, Result<Vec<Opened>, KeyringError>>;
}

impl fmt::Debug for Sealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sealed({}, {} bytes)", self.account_id, self.ciphertext.len())
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD_NO_PAD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    STANDARD_NO_PAD.decode(text.as_bytes()).map_err(D::Error::custom)
}
