//! Settings of what is kept of people, and for how long.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::within;

const DAY: u64 = 86_400;

/// What may be set; in `weir.toml` it is the table `[privacy]`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacySettings {
    /// How long an account that asks to be erased can still be kept by signing in, in days, 0 (not at all) to 90 [default: 14]
    #[arg(long, env = "WEIR_ERASURE_AFTER_DAYS", global = true, value_name = "DAYS")]
    erasure_after_days: Option<u32>,
    /// For how long addresses and user agents of sign-ins are kept, in days, 1 to 3650 [default: 90]
    #[arg(long, env = "WEIR_ADDRESSES_KEEP_DAYS", global = true, value_name = "DAYS")]
    addresses_keep_days: Option<u32>,
}

/// The effective settings.
#[derive(Debug, Clone, Serialize)]
pub struct PrivacyConfig {
    /// 0 to 90; 0: accounts are erased at once.
    pub erasure_after_days: u32,
    /// 1 to 3650.
    pub addresses_keep_days: u32,
}

impl PrivacyConfig {
    /// How long an account that asks to be erased can still be kept.
    pub fn erasure_after(&self) -> Duration {
        Duration::from_secs(DAY * u64::from(self.erasure_after_days))
    }

    /// For how long addresses and user agents are kept.
    pub fn addresses_kept(&self) -> Duration {
        Duration::from_secs(DAY * u64::from(self.addresses_keep_days))
    }
}

impl PrivacySettings {
    /// Adds what the file says, and checks the lot.
    pub(super) fn resolve(self, file: Self) -> anyhow::Result<PrivacyConfig> {
        let erasure = self.erasure_after_days.or(file.erasure_after_days).unwrap_or(14);
        let addresses = self.addresses_keep_days.or(file.addresses_keep_days).unwrap_or(90);
        Ok(PrivacyConfig {
            erasure_after_days: within("privacy.erasure_after_days", erasure, (0, 90))?,
            addresses_keep_days: within("privacy.addresses_keep_days", addresses, (1, 3_650))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privacy(text: &str) -> anyhow::Result<PrivacyConfig> {
        PrivacySettings::default().resolve(toml::from_str(text)?)
    }

    #[test]
    fn times_are_days_within_bounds() {
        let config = privacy("").unwrap();
        assert_eq!(config.erasure_after(), Duration::from_secs(14 * 86_400));
        assert_eq!(config.addresses_kept(), Duration::from_secs(90 * 86_400));
        assert!(privacy("erasure_after_days = 0").unwrap().erasure_after().is_zero());
        for (text, expected) in [
            ("erasure_after_days = 91", "privacy.erasure_after_days is 91; it must be 0 to 90"),
            ("addresses_keep_days = 0", "privacy.addresses_keep_days is 0; it must be 1 to 3650"),
            ("keep = 1", "unknown field"),
        ] {
            let error = format!("{:#}", privacy(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
