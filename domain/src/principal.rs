use crate::ids::AccountId;

/// Who asks for something, as far as rights need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub account_id: AccountId,
    /// Whether it administers the platform.
    pub is_administrator: bool,
}

/// Somebody of whom nothing but the account counts.
impl From<AccountId> for Principal {
    fn from(account_id: AccountId) -> Self {
        Self { account_id, is_administrator: false }
    }
}
