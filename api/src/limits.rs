//! How often one may ask: a bucket for each account, address and username, kept by each node and told to the others.
//!
//! The algorithm is that of the generic cell rate (ITU-T I.371, appendix I): of each bucket one number is kept, the time
//! at which it would be full again. Nodes tell each other what was spent; until that has arrived, each decides alone, so
//! that somebody who asks `n` nodes at once gets `n` times the quota once, and no more than the quota after that
//! (docs/adr/0035).
//!
//! To limit something else, add a [`Policy`] and take from it where the request is known well enough.

mod buckets;
mod policies;
mod shared;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use domain::ids::AccountId;
use sha2::{Digest, Sha256};

pub(crate) use self::policies::Policy;
use self::{buckets::Buckets, shared::Spent};
use crate::{
    error::{ApiError, ApiResult},
    frame::RequestContext,
};

/// `draft-ietf-httpapi-ratelimit-headers-10`, section 3: what may be asked in what time.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Section 4: what is left of it.
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Buckets of this process, and what it has to tell others of them. Cheap to clone.
#[derive(Clone)]
pub struct RateLimits(Arc<Inner>);

struct Inner {
    secret: [u8; 32],
    buckets: Buckets,
    spent: Spent,
}

impl fmt::Debug for RateLimits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RateLimits(…)")
    }
}

/// What is left for somebody under a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    policy: Policy,
    key: Key,
    /// Requests that may be made at once.
    remaining: u32,
    /// Until there is one more, if there is none; else until all are back. In seconds, rounded up.
    seconds: u32,
}

/// Who is counted, so that neither memory nor a message to other nodes has an address or a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(u128);

impl RateLimits {
    /// Full buckets. `secret` is what names in messages between nodes are made with: the same on all of them.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        let began = Instant::now();
        Self::with_clock(secret, move || began.elapsed())
    }

    /// As [`RateLimits::new`], by another clock: `clock` says how long there have been buckets, and never goes back. For tests, where
    /// what is left must not depend on how quick a machine is.
    #[must_use]
    pub fn with_clock(secret: [u8; 32], clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { secret, buckets: Buckets::new(clock), spent: Spent::new() }))
    }

    /// What was spent since this was last asked, for the other nodes; empty when it is nothing.
    #[must_use]
    pub fn messages(&self) -> Vec<Vec<u8>> {
        self.0.spent.take()
    }

    /// Takes in what another node has spent. What cannot be read is passed over: another version may say more.
    pub fn learn(&self, message: &[u8]) {
        for (policy, key, count) in self.0.spent.read(message) {
            self.0.buckets.add(policy, key, count);
        }
    }

    /// Takes one from the bucket that `who` has under `policy`.
    ///
    /// # Errors
    /// What is left, when that is nothing.
    pub(crate) fn take(&self, policy: Policy, who: &str) -> Result<Quota, Quota> {
        let key = self.key(policy, who);
        let taken = self.0.buckets.take(policy, key);
        if taken.is_ok() {
            self.0.spent.note(policy, key, 1);
        }
        taken
    }

    /// Takes one from the bucket of an account, where there are limits. By account: one person may have many addresses.
    ///
    /// # Errors
    /// `rate_limited`, when nothing is left.
    pub(crate) fn take_of(limits: Option<&Self>, policy: Policy, account_id: AccountId) -> ApiResult<()> {
        let taken = limits.map(|limits| limits.take(policy, &account_id.to_string())).transpose();
        taken.map(drop).map_err(Quota::refusal)
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&self, quota: Quota) {
        self.0.buckets.add(quota.policy, quota.key, -1);
        self.0.spent.note(quota.policy, quota.key, -1);
    }

    fn key(&self, policy: Policy, who: &str) -> Key {
        let digest = Sha256::new_with_prefix(self.0.secret)
            .chain_update("weir rate limit\0")
            .chain_update(policy.name())
            .chain_update("\0")
            .chain_update(who)
            .finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Key(u128::from_le_bytes(key))
    }
}

impl Quota {
    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    /// The refusal of somebody who has nothing left.
    pub(crate) fn refusal(self) -> ApiError {
        metrics::counter!("weir_rate_limited_total", "policy" => self.policy.name()).increment(1);
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "That was too often")
            .detail(format!("{} Try again in {} s.", self.policy.words(), self.seconds))
            .header(header::RETRY_AFTER, HeaderValue::from(self.seconds))
    }

    /// The headers that tell a client how much is left under these policies.
    pub(crate) fn headers(quotas: &[Self]) -> Option<[(HeaderName, HeaderValue); 2]> {
        if quotas.is_empty() {
            return None;
        }
        let list = |item: &dyn Fn(&Self) -> String| quotas.iter().map(item).collect::<Vec<_>>().join(", ");
        let policies = list(&|Self { policy, .. }| {
            format!("\"{}\";q={};w={}", policy.name(), policy.quota(), policy.window_seconds())
        });
        let left =
            list(&|Self { policy, remaining, seconds, .. }| format!("\"{}\";r={remaining};t={seconds}", policy.name()));
        Some([(RATELIMIT_POLICY, policies.try_into().ok()?), (RATELIMIT, left.try_into().ok()?)])
    }
}

/// A try to sign in as somebody: counted until it has succeeded.
pub(crate) struct SignInAttempt {
    limits: Option<RateLimits>,
    taken: Vec<Quota>,
}

impl SignInAttempt {
    /// Counts a try to sign in with `username` from where the request comes.
    ///
    /// # Errors
    /// `rate_limited`, when there were too many wrong ones.
    pub(crate) fn begin(limits: Option<&RateLimits>, context: &RequestContext, username: &str) -> ApiResult<Self> {
        let mut attempt = Self { limits: limits.cloned(), taken: Vec::new() };
        let Some(limits) = limits else { return Ok(attempt) };
        let username = username.to_lowercase();
        let address = context.client().network().map(|address| address.to_string()).unwrap_or_default();
        let near = context.client().shortened().map(|network| network.to_string()).unwrap_or_default();
        // From one address few tries: somebody guesses. From all together more, so that nobody can easily keep somebody
        // else out who comes from an address of their own; one who is given many addresses, as everybody is of IPv6, has a part
        // of that only.
        for (policy, who) in [
            (Policy::SignInAs, format!("{address} {username}")),
            (Policy::SignInNear, format!("{near} {username}")),
            (Policy::SignInAnywhere, username),
        ] {
            match limits.take(policy, &who) {
                Ok(quota) => attempt.taken.push(quota),
                Err(quota) => {
                    attempt.forget();
                    context.note(quota);
                    return Err(quota.refusal());
                }
            }
        }
        Ok(attempt)
    }

    /// The password was right, or none was checked.
    pub(crate) fn forget(self) {
        if let Some(limits) = &self.limits {
            self.taken.into_iter().for_each(|quota| limits.give_back(quota));
        }
    }
}

/// So that the metrics are there from the start.
pub(crate) fn tell_metrics() {
    metrics::describe_counter!("weir_rate_limited_total", "Requests that were refused because there were too many.");
    for policy in Policy::ALL {
        metrics::counter!("weir_rate_limited_total", "policy" => policy.name()).increment(0);
    }
}
