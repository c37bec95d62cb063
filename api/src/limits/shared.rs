use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use uuid::Uuid;

use super::{Key, Policy};

/// The shape of messages; another one is not read.
const VERSION: u8 = 1;
/// Version and node.
const HEAD: usize = 17;
/// Policy, key, count.
const ENTRY: usize = 21;
/// So that a message stays far below the 1 MB that NATS takes.
const ENTRIES: usize = 10_000;

/// What this process has spent and others do not know yet.
pub(super) struct Spent {
    /// Nodes hear their own messages, too.
    node: Uuid,
    /// Whether somebody tells them: a node that is alone keeps nothing.
    is_told: AtomicBool,
    counts: Mutex<HashMap<(Policy, Key), i32>>,
}

impl Spent {
    pub(super) fn new() -> Self {
        Self { node: Uuid::new_v4(), is_told: AtomicBool::new(false), counts: Mutex::default() }
    }

    pub(super) fn note(&self, policy: Policy, key: Key, count: i32) {
        if !self.is_told.load(Ordering::Relaxed) {
            return;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // Should NATS be away for long.
        if counts.len() < 4 * ENTRIES || counts.contains_key(&(policy, key)) {
            *counts.entry((policy, key)).or_default() += count;
        }
    }

    pub(super) fn take(&self) -> Vec<Vec<u8>> {
        self.is_told.store(true, Ordering::Relaxed);
        let counts = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        let counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count != 0).collect();
        let message = |counts: &[((Policy, Key), i32)]| {
            let mut message = Vec::with_capacity(HEAD + counts.len() * ENTRY);
            message.push(VERSION);
            message.extend_from_slice(self.node.as_bytes());
            for ((policy, key), count) in counts {
                message.push(*policy as u8);
                message.extend_from_slice(&key.0.to_le_bytes());
                message.extend_from_slice(&count.to_le_bytes());
            }
            message
        };
        counts.chunks(ENTRIES).map(message).collect()
    }

    pub(super) fn read<'a>(&self, message: &'a [u8]) -> impl Iterator<Item = (Policy, Key, i32)> + use<'a> {
        let is_of_another =
            message.first() == Some(&VERSION) && message.get(1..HEAD).is_some_and(|node| node != self.node.as_bytes());
        let entries = if is_of_another { &message[HEAD..] } else { &[] };
        entries.chunks_exact(ENTRY).filter_map(|entry| {
            let policy = Policy::of_number(entry[0])?;
            let key = u128::from_le_bytes(entry[1..17].try_into().ok()?);
            Some((policy, Key(key), i32::from_le_bytes(entry[17..].try_into().ok()?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::RateLimits;

    /// For which no time goes by.
    fn limits() -> RateLimits {
        RateLimits::with_clock([1; 32], || Duration::ZERO)
    }

    #[test]
    fn nodes_learn_of_each_other_and_not_of_themselves() {
        let (here, there) = (limits(), limits());
        assert!(here.messages().is_empty() && there.messages().is_empty());
        for _ in 0..15 {
            here.take(Policy::SignIn, "203.0.113.7").unwrap();
        }
        let messages = here.messages();
        assert_eq!((messages.len(), messages[0].len()), (1, HEAD + ENTRY));
        assert!(here.messages().is_empty(), "it is told once");
        there.learn(&messages[0]);
        here.learn(&messages[0]);
        for limits in [&here, &there] {
            assert_eq!(limits.take(Policy::SignIn, "203.0.113.7").unwrap().remaining, 4);
        }
        // What was given back is told as well.
        there.give_back(there.take(Policy::SignIn, "203.0.113.8").unwrap());
        let told = there.messages();
        assert_eq!(told[0].len(), HEAD + ENTRY, "only what has changed: {told:?}");
        for nonsense in [&[][..], &[2], &[1; 30], &messages[0][..HEAD + 5], &[VERSION; HEAD]] {
            there.learn(nonsense);
        }
        assert_eq!(there.take(Policy::SignIn, "203.0.113.7").unwrap().remaining, 3);
    }

    #[test]
    fn names_are_nothing_without_the_secret() {
        let [one, other] = [RateLimits::new([1; 32]), RateLimits::new([2; 32])];
        assert_ne!(one.key(Policy::SignIn, "mira"), other.key(Policy::SignIn, "mira"));
        assert_ne!(one.key(Policy::SignIn, "mira"), one.key(Policy::Code, "mira"));
    }
}
