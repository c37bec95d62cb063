use std::fmt;

use domain::ids::AccountId;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{Commands, MasterKeys};

/// Gives accounts other names of the same form: the same for the same account in everything that this install tells,
/// and of no use without its keys.
#[derive(Clone)]
pub struct Pseudonyms {
    /// With the key in it.
    mac: Hmac<Sha256>,
}

impl Pseudonyms {
    pub(crate) fn new(keys: &MasterKeys) -> Self {
        let key = Zeroizing::new(keys.digest(&[b"pseudonyms"]));
        Self { mac: Mac::new_from_slice(key.as_slice()).expect("HMAC takes any key length") }
    }

    /// What `account_id` is called towards outsiders.
    #[must_use]
    pub fn of(&self, account_id: AccountId) -> Uuid {
        let digest = self.mac.clone().chain_update(account_id.uuid().as_bytes()).finalize().into_bytes();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pseudonyms(…)")
    }
}

impl Commands {
    /// Other names for accounts, for what outsiders read.
    #[must_use]
    pub fn pseudonyms(&self) -> Pseudonyms {
        Pseudonyms::new(self.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_a_uuid_that_depends_on_the_keys_and_the_account() {
        let pseudonyms =
            |digest| Pseudonyms::new(&MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([digest; 32])));
        let [one, other] = [1, 2].map(|number| AccountId::from(Uuid::from_u128(number)));
        let name = pseudonyms(1).of(one);
        assert_eq!(name.get_version_num(), 8);
        assert_eq!(name.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(pseudonyms(1).of(one), name);
        assert_ne!(pseudonyms(1).of(other), name);
        assert_ne!(pseudonyms(2).of(one), name);
    }
}
