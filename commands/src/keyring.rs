use std::borrow::Cow;

use domain::{
    ids::AccountId,
    sealed::{BoxFuture, Keyring, KeyringError, Opened, Sealed},
};

/// The keys under which personal data is sealed: one for each account, itself encrypted under the master key.
pub struct AccountKeys {}

impl AccountKeys {
    /// Seals `text` under the key of `account_id`, making the key on first use.
    ///
    /// # Errors
    /// [`KeyringError::Unavailable`] when the log does not answer, or the key was destroyed.
    pub async fn seal(&self, account_id: AccountId, text: &str) -> Result<Sealed, KeyringError> {
        let _ = (account_id, text);
        todo!()
    }

    /// Destroys the key of `account_id`: whatever was sealed under it opens as [`Opened::Erased`] from now on, in other
    /// processes within a minute.
    ///
    /// # Errors
    /// [`KeyringError::Unavailable`] when the log does not answer.
    pub async fn destroy(&self, account_id: AccountId) -> Result<(), KeyringError> {
        let _ = account_id;
        todo!()
    }
}

impl Keyring for AccountKeys {
    fn open<'a>(&'a self, sealed: Vec<Cow<'a, Sealed>>) -> BoxFuture<'a, Result<Vec<Opened>, KeyringError>> {
        let _ = sealed;
        todo!()
    }
}
