use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Key, Policy, Quota};

/// One lock for all would be asked by every call.
const SHARDS: usize = 16;

/// Buckets that are kept at most, in a shard: some 5 MB in all. Whoever comes when all are taken shares one.
const KEPT: usize = 8_192;

/// The bucket of those for whom there is no room: one for each policy, since what is much under one is little under another.
fn others(policy: Policy) -> Key {
    Key(u128::from(policy as u8))
}

/// When each bucket is full again, in microseconds of `clock`.
pub(super) struct Buckets {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    shards: [Mutex<HashMap<Key, u64>>; SHARDS],
}

impl Buckets {
    pub(super) fn new(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), shards: std::array::from_fn(|_| Mutex::default()) }
    }

    pub(super) fn take(&self, policy: Policy, key: Key) -> Result<Quota, Quota> {
        self.take_at(policy, key, self.now())
    }

    /// Takes `count` at once without asking, or gives as many back.
    pub(super) fn add(&self, policy: Policy, key: Key, count: i32) {
        self.add_at(policy, key, count, self.now());
    }

    fn now(&self) -> u64 {
        u64::try_from((self.clock)().as_micros()).unwrap_or(u64::MAX)
    }

    fn take_at(&self, policy: Policy, key: Key, now: u64) -> Result<Quota, Quota> {
        let (each, window) = (each_us(policy), window_us(policy));
        self.with(policy, key, now, |full_at| {
            let after = (*full_at).max(now) + each;
            if after - now > window {
                let wait = after - now - window;
                return Err(Quota { policy, key, remaining: 0, seconds: seconds(wait) });
            }
            *full_at = after;
            let remaining = u32::try_from((window - (after - now)) / each).unwrap_or(u32::MAX);
            let wait = if remaining == 0 { (after + each - now).saturating_sub(window) } else { after - now };
            Ok(Quota { policy, key, remaining, seconds: seconds(wait) })
        })
    }

    fn add_at(&self, policy: Policy, key: Key, count: i32, now: u64) {
        let change = each_us(policy).saturating_mul(count.unsigned_abs().into());
        let most = now + window_us(policy);
        self.with(policy, key, now, |full_at| {
            let at = (*full_at).max(now);
            // What others took while we did not know is not held against somebody for longer than a window.
            *full_at = if count > 0 { at.saturating_add(change).min(most) } else { at.saturating_sub(change).max(now) };
        });
    }

    fn with<T>(&self, policy: Policy, key: Key, now: u64, change: impl FnOnce(&mut u64) -> T) -> T {
        let shard = &self.shards[(key.0 as usize) % SHARDS];
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEPT && !buckets.contains_key(&key) {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let has_room = buckets.len() < KEPT || buckets.contains_key(&key);
        change(buckets.entry(if has_room { key } else { others(policy) }).or_insert(now))
    }
}

fn each_us(policy: Policy) -> u64 {
    window_us(policy) / u64::from(policy.quota())
}

fn window_us(policy: Policy) -> u64 {
    u64::from(policy.window_seconds()) * 1_000_000
}

fn seconds(us: u64) -> u32 {
    u32::try_from(us.div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// Of which each test says itself what time it is.
    fn buckets() -> Buckets {
        Buckets::new(|| Duration::ZERO)
    }

    #[test]
    fn the_whole_quota_may_come_at_once_and_then_one_at_a_time() {
        let (buckets, key, now) = (buckets(), Key(7), 5 * SECOND);
        for left in (0..20).rev() {
            assert_eq!(buckets.take_at(Policy::SignIn, key, now).unwrap().remaining, left);
        }
        let refused = buckets.take_at(Policy::SignIn, key, now).unwrap_err();
        assert_eq!((refused.remaining, refused.seconds), (0, 3), "20 in 60 s are one in 3 s");
        assert!(buckets.take_at(Policy::SignIn, Key(8), now).is_ok(), "somebody else has a bucket of their own");
        let soon = now + 3 * SECOND;
        assert!(buckets.take_at(Policy::SignIn, key, soon - 1).is_err());
        assert_eq!(buckets.take_at(Policy::SignIn, key, soon).unwrap().remaining, 0);
        assert!(buckets.take_at(Policy::SignIn, key, soon).is_err());
        assert_eq!(buckets.take_at(Policy::SignIn, key, soon + 60 * SECOND).unwrap().remaining, 19, "all are back");
    }

    #[test]
    fn what_others_spent_counts_and_what_is_given_back_does_not() {
        let (buckets, key, now) = (buckets(), Key(7), 0);
        buckets.add_at(Policy::SignIn, key, 19, now);
        assert_eq!(buckets.take_at(Policy::SignIn, key, now).unwrap().remaining, 0);
        buckets.add_at(Policy::SignIn, key, -1, now);
        assert_eq!(buckets.take_at(Policy::SignIn, key, now).unwrap().remaining, 0);
        // However much others spent: a window later all is forgotten.
        buckets.add_at(Policy::SignIn, key, 1_000_000, now);
        assert!(buckets.take_at(Policy::SignIn, key, now).is_err());
        assert_eq!(buckets.take_at(Policy::SignIn, key, 60 * SECOND).unwrap().remaining, 19);
        // More than there was cannot be given back.
        buckets.add_at(Policy::SignIn, key, -1_000, 61 * SECOND);
        assert_eq!(buckets.take_at(Policy::SignIn, key, 61 * SECOND).unwrap().remaining, 19);
    }

    #[test]
    fn memory_is_bounded_and_strangers_share_what_is_left() {
        let buckets = buckets();
        for key in 1..=(KEPT as u128 * 2) {
            let _ = buckets.take_at(Policy::SignIn, Key(key * SHARDS as u128), 0);
        }
        assert!(buckets.shards[0].lock().unwrap().len() <= KEPT + 1);
        assert!(
            buckets.take_at(Policy::SignIn, Key(u128::MAX - 15), 0).is_err(),
            "they share a bucket, which is empty"
        );
        // Buckets that are full again make room.
        assert_eq!(buckets.take_at(Policy::SignIn, Key(u128::MAX - 15), 61 * SECOND).unwrap().remaining, 19);
        assert_eq!(buckets.shards[0].lock().unwrap().len(), 1);
    }
}
