use std::time::{Duration, Instant};

use argon2::{Block, Params, Version};

use super::passwords::derive;
use crate::error::BoxError;

/// What the hash of a password costs whoever makes it: memory and passes of argon2id (RFC 9106), in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    memory_mib: u32,
    passes: u32,
}

impl PasswordCost {
    /// 19 MiB and two passes: the least that the OWASP Password Storage Cheat Sheet recommends, and the default.
    pub const LEAST: Self = Self { memory_mib: 19, passes: 2 };

    /// The most that may be asked for: a gigabyte, and twenty passes.
    pub const MOST: Self = Self { memory_mib: 1_024, passes: 20 };

    /// So many MiB of memory and passes over it; `None` when either is below [`LEAST`](Self::LEAST) or above
    /// [`MOST`](Self::MOST).
    #[must_use]
    pub fn new(memory_mib: u32, passes: u32) -> Option<Self> {
        let is_allowed = (Self::LEAST.memory_mib..=Self::MOST.memory_mib).contains(&memory_mib)
            && (Self::LEAST.passes..=Self::MOST.passes).contains(&passes);
        is_allowed.then_some(Self { memory_mib, passes })
    }

    /// In MiB.
    #[must_use]
    pub fn memory_mib(self) -> u32 {
        self.memory_mib
    }

    /// How often the memory is gone over.
    #[must_use]
    pub fn passes(self) -> u32 {
        self.passes
    }

    /// How long one hash takes on this machine while nothing else is hashed: the median of five. Blocks the thread.
    #[must_use]
    pub fn measure(self) -> Duration {
        let mut memory = Vec::new();
        // The first one waits for the memory, as no later one does.
        let mut took: Vec<Duration> = (0..6).filter_map(|_| self.hash_once(&mut memory).ok()).skip(1).collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied().unwrap_or_default()
    }

    fn hash_once(self, memory: &mut Vec<Block>) -> Result<Duration, BoxError> {
        let params = self.params()?;
        let began = Instant::now();
        derive("correct horse battery", &[7; 16], Version::V0x13, &params, Params::DEFAULT_OUTPUT_LEN, memory)?;
        Ok(began.elapsed())
    }

    pub(super) fn params(self) -> Result<Params, BoxError> {
        Params::new(1_024 * self.memory_mib, self.passes, 1, None).map_err(|error| error.to_string().into())
    }

    /// Whether a hash that was made with `params` costs less than one that is made with this.
    pub(super) fn is_above(self, params: &Params) -> bool {
        params.m_cost() < 1_024 * self.memory_mib || params.t_cost() < self.passes
    }

    /// What has to be worked beside a hash made with `params` so that both together take as long as one with this, or `None` where that
    /// one alone takes as long: the time of a wrong password must not tell that its account is an old one, or is there.
    pub(super) fn beside(self, params: &Params) -> Option<Params> {
        let work = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
        let lacking = work(&self.params().ok()?).checked_sub(work(params))?;
        let memory_kib = u32::try_from(lacking / u64::from(self.passes)).ok()?;
        (memory_kib >= Params::MIN_M_COST).then(|| Params::new(memory_kib, self.passes, 1, None).ok())?
    }
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self::LEAST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_the_least_is_no_cost() {
        assert_eq!(PasswordCost::new(19, 2), Some(PasswordCost::default()));
        for (memory_mib, passes) in [(18, 2), (19, 1), (1_025, 2), (19, 21), (0, 0)] {
            assert_eq!(PasswordCost::new(memory_mib, passes), None, "{memory_mib} MiB, {passes} passes");
        }
        assert_eq!(PasswordCost::LEAST.params().unwrap().m_cost(), 19_456);
    }

    #[test]
    fn what_an_older_hash_lacks_is_what_makes_the_work_equal() {
        let work = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
        for (now, then) in [((64, 2), (19, 2)), ((64, 3), (19, 2)), ((128, 2), (64, 3)), ((20, 2), (19, 2))] {
            let [now, then] = [now, then].map(|(memory_mib, passes)| PasswordCost { memory_mib, passes });
            let made = then.params().unwrap();
            let beside = now.beside(&made).unwrap();
            let missing = work(&now.params().unwrap()) - work(&made) - work(&beside);
            assert!(missing < u64::from(now.passes), "{now:?} {then:?}: rounded down by less than a KiB");
            assert!(now.is_above(&made), "{now:?} {then:?}");
        }
        let same = PasswordCost::LEAST;
        assert!(same.beside(&same.params().unwrap()).is_none() && !same.is_above(&same.params().unwrap()));
        let dearer = PasswordCost { memory_mib: 64, passes: 3 }.params().unwrap();
        assert!(same.beside(&dearer).is_none() && !same.is_above(&dearer), "what costs more is left alone");
    }
}
