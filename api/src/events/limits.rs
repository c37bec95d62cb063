//! How much of the feed there is to go round: places for those who read along, for each account and for the process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderValue, StatusCode, header};
use domain::ids::AccountId;

use crate::error::ApiError;

/// What readers of the feed may take of a process.
#[derive(Debug, Clone)]
pub struct FeedOptions {
    /// Long answers (NDJSON) to one account at once.
    pub transfers_per_account: usize,
    /// Long answers (NDJSON) at once.
    pub transfers: usize,
    /// Subscriptions of one account at once.
    pub subscriptions_per_account: usize,
    /// Subscriptions at once.
    pub subscriptions: usize,
    /// For how long a reader may take nothing of what waits for it.
    pub stalled: Duration,
    /// How often a subscriber hears something at least.
    pub heartbeat: Duration,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self {
            transfers_per_account: 2,
            transfers: 8,
            subscriptions_per_account: 32,
            subscriptions: 1_000,
            stalled: Duration::from_secs(60),
            heartbeat: Duration::from_secs(15),
        }
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The account has taken as many as it may: this many.
    Account(usize),
    /// All are taken.
    Process,
}

impl From<Full> for ApiError {
    /// The refusal of somebody who reads the feed.
    fn from(full: Full) -> Self {
        match full {
            Full::Account(own) => {
                let detail = format!(
                    "This account reads the feed {own} times at once already. Let one of them end, then try again."
                );
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_feeds", "Too many feeds at once")
                    .detail(detail)
                    .header(header::RETRY_AFTER, HeaderValue::from_static("5"))
            }
            Full::Process => Self::overloaded(),
        }
    }
}

/// Places, so many in all and so many for one account.
#[derive(Debug)]
pub(crate) struct Places {
    per_account: usize,
    total: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    of: HashMap<AccountId, usize>,
}

impl Places {
    pub(crate) fn new(per_account: usize, total: usize) -> Arc<Self> {
        Arc::new(Self { per_account, total, taken: Mutex::default() })
    }

    /// A place for `account_id`, until it is dropped.
    ///
    /// # Errors
    /// Why there is none: as a refusal 429 when the account has as many as it may, 503 when all are taken.
    pub(crate) fn take(self: &Arc<Self>, account_id: AccountId) -> Result<Place, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.of.get(&account_id).copied().unwrap_or(0);
        if own >= self.per_account {
            return Err(Full::Account(own));
        }
        if taken.total >= self.total {
            return Err(Full::Process);
        }
        taken.total += 1;
        taken.of.insert(account_id, own + 1);
        Ok(Place { places: Arc::clone(self), account_id })
    }
}

/// A place that is taken.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    account_id: AccountId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        if let Some(own) = taken.of.get_mut(&self.account_id) {
            *own -= 1;
            if *own == 0 {
                taken.of.remove(&self.account_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn places_are_counted_by_account_and_in_all_and_come_back() {
        let places = Places::new(2, 3);
        let (mira, noor) = (AccountId::from(Uuid::from_u128(1)), AccountId::from(Uuid::from_u128(2)));
        let status = |taken: Result<Place, Full>| ApiError::from(taken.map(drop).unwrap_err()).into_problem().status;
        let first = places.take(mira).unwrap();
        let _second = places.take(mira).unwrap();
        assert_eq!(status(places.take(mira)), 429);
        let _third = places.take(noor).unwrap();
        assert_eq!(status(places.take(noor)), 503);
        drop(first);
        let _fourth = places.take(noor).unwrap();
        assert_eq!(places.taken.lock().unwrap().of.len(), 2);
        assert_eq!(status(places.take(noor)), 429);
    }
}
