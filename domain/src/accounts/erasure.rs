use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why an account that was to be erased stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasureCancelledReason {
    /// Its owner signed in before the time was over.
    SignedIn,
    /// It had become the only administrator's meanwhile.
    OnlyAdministrator,
    /// Whoever runs this Weir called it off for its owner, who cannot sign in.
    Operator,
}
