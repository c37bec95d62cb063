//! What has to be tidied now and then: sessions and personal tokens that ran out, secrets and keys that nothing refers to,
//! requests whose keys are no longer kept, addresses and user agents whose time is over, and failed sign-ins of the hour that is
//! over, which are told.

use std::{error::Error, time::Duration};

use commands::{
    Commands, Swept,
    accounts::{failed_sign_ins, personal_tokens, sessions},
};
use tokio::time::{MissedTickBehavior, interval};

use crate::leadership::Leadership;

/// How often it is tidied.
pub const EVERY: Duration = Duration::from_secs(300);

/// Tidies at once and then `every` so often, for ever, on one node among those who run it. What fails is tried again the next
/// time. `addresses_kept` is how long addresses and user agents are kept. Cancel safe.
pub async fn run(commands: Commands, every: Duration, addresses_kept: Duration) {
    let mut leadership = Leadership::new("housekeeping", commands.pool().clone());
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        match leadership.is_ours().await {
            Ok(true) => tidy(&commands, addresses_kept).await,
            Ok(false) => {}
            Err(error) => tracing::warn!(error = &error as &dyn Error, "nobody knows who keeps house"),
        }
    }
}

async fn tidy(commands: &Commands, addresses_kept: Duration) {
    match commands.account_keys().forget_days(addresses_kept).await {
        Ok(0) => {}
        Ok(days) => tracing::info!(days, "addresses and user agents whose time was over were forgotten"),
        Err(error) => tracing::warn!(
            error = &error as &dyn Error,
            "addresses and user agents whose time is over could not be forgotten"
        ),
    }
    match failed_sign_ins::tell_over(commands).await {
        Ok(0) => {}
        Ok(told) => tracing::debug!(told, "failed sign-ins were told"),
        Err(error) => tracing::warn!(error = &error as &dyn Error, "failed sign-ins could not be told"),
    }
    match sessions::end_expired(commands).await {
        Ok(0) => {}
        Ok(ended) => tracing::info!(ended, "sessions that ran out were ended"),
        Err(error) => tracing::warn!(error = &error as &dyn Error, "sessions that ran out could not be ended"),
    }
    match personal_tokens::revoke_expired(commands).await {
        Ok(0) => {}
        Ok(revoked) => tracing::info!(revoked, "personal tokens that ran out were revoked"),
        Err(error) => tracing::warn!(error = &error as &dyn Error, "personal tokens that ran out could not be revoked"),
    }
    match commands.forget_expired_requests().await {
        Ok(0) => {}
        Ok(forgotten) => tracing::debug!(forgotten, "requests that were long ago can be made again"),
        Err(error) => {
            tracing::warn!(error = &error as &dyn Error, "requests that were long ago could not be forgotten");
        }
    }
    match commands::sweep(commands).await {
        Ok(swept) if swept == Swept::default() => {}
        Ok(Swept { secrets, keys }) => {
            tracing::info!(secrets, keys, "secrets that nothing needs were destroyed");
        }
        Err(error) => tracing::warn!(error = &error as &dyn Error, "the vault could not be swept"),
    }
}
