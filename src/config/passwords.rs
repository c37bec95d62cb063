//! Settings of how passwords are kept.

use anyhow::Context;
use clap::Args;
use commands::accounts::PasswordCost;
use serde::{Deserialize, Serialize};

use super::within;

/// What may be set; in `weir.toml` it is the table `[passwords]`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordSettings {
    /// How much memory the hash of a password takes, in MiB, 19 to 1024; `weir password-cost` measures [default: 19]
    #[arg(
        id = "password_memory_mib",
        long = "password-memory-mib",
        env = "WEIR_PASSWORD_MEMORY_MIB",
        global = true,
        value_name = "MIB"
    )]
    memory_mib: Option<u32>,
    /// How often that memory is gone over, 2 to 20 [default: 2]
    #[arg(
        id = "password_passes",
        long = "password-passes",
        env = "WEIR_PASSWORD_PASSES",
        global = true,
        value_name = "N"
    )]
    passes: Option<u32>,
}

/// The effective settings.
#[derive(Debug, Clone, Serialize)]
pub struct PasswordConfig {
    /// 19 to 1024.
    pub memory_mib: u32,
    /// 2 to 20.
    pub passes: u32,
}

impl PasswordConfig {
    /// What a hash costs.
    ///
    /// # Errors
    /// Never with what was resolved.
    pub fn cost(&self) -> anyhow::Result<PasswordCost> {
        PasswordCost::new(self.memory_mib, self.passes).context("passwords would cost too little or too much to hash")
    }
}

impl PasswordSettings {
    /// Adds what the file says, and checks the lot.
    pub(super) fn resolve(self, file: Self) -> anyhow::Result<PasswordConfig> {
        let (least, most) = (PasswordCost::LEAST, PasswordCost::MOST);
        let memory = self.memory_mib.or(file.memory_mib).unwrap_or(least.memory_mib());
        let passes = self.passes.or(file.passes).unwrap_or(least.passes());
        Ok(PasswordConfig {
            memory_mib: within("passwords.memory_mib", memory, (least.memory_mib(), most.memory_mib()))?,
            passes: within("passwords.passes", passes, (least.passes(), most.passes()))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords(text: &str) -> anyhow::Result<PasswordConfig> {
        PasswordSettings::default().resolve(toml::from_str(text)?)
    }

    #[test]
    fn nothing_below_the_least_is_taken() {
        assert_eq!(passwords("").unwrap().cost().unwrap(), PasswordCost::LEAST);
        let dearer = passwords("memory_mib = 64\npasses = 3").unwrap().cost().unwrap();
        assert_eq!((dearer.memory_mib(), dearer.passes()), (64, 3));
        for (text, expected) in [
            ("memory_mib = 18", "passwords.memory_mib is 18; it must be 19 to 1024"),
            ("passes = 1", "passwords.passes is 1; it must be 2 to 20"),
            ("rounds = 1", "unknown field"),
        ] {
            let error = format!("{:#}", passwords(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
