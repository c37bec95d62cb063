//! What the settings say of who may talk to the API, as the API takes it.

use api::{AccessOptions, RateLimits};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tracing::info;

use crate::{
    config::{AccessConfig, RateLimiting},
    secrets::Secrets,
};

/// What the API is told, and what the log is.
pub fn access(config: &AccessConfig, secrets: &Secrets) -> AccessOptions {
    let rate_limits = match config.rate_limits {
        RateLimiting::On => Some(RateLimits::new(names_secret(secrets))),
        RateLimiting::Off => {
            info!(
                "rate limits are off: anybody may ask as often as they like, and guess passwords as fast as they are checked"
            );
            None
        }
    };
    AccessOptions {
        trusted_proxies: config.trusted_proxies.clone(),
        cors_origins: config.cors_origins.clone(),
        rate_limits,
        administration: config.administration(),
        max_channels: (config.max_channels > 0).then_some(config.max_channels),
    }
}

/// The same on all nodes, since all have the same secrets file.
fn names_secret(secrets: &Secrets) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secrets.access_token_key.0).expect("HMAC takes keys of any length");
    mac.update(b"weir names in rate limits");
    mac.finalize().into_bytes().into()
}
