//! How long it is waited before what did not work is tried again: longer each time that it fails at once, since viewers notice
//! each try.

use std::time::Duration;

use tokio::time::Instant;

use super::LadderPace;

#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    pause: Duration,
    /// The last try, as long as it has not failed.
    tried_at: Option<Instant>,
    again_at: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(pace: &LadderPace) -> Self {
        let LadderPace { again_after, again_at_most, .. } = *pace;
        Self { first: again_after, longest: again_at_most, pause: again_after, tried_at: None, again_at: None }
    }

    /// It does not work, or no longer.
    pub(super) fn failed(&mut self, now: Instant) {
        self.pause = match self.tried_at.take() {
            // Nothing was tried since the last failure: it is the same one, which goes on.
            None => self.pause,
            Some(tried_at) if now - tried_at < self.longest => (self.pause * 2).min(self.longest),
            // What has worked for so long fails for another reason.
            Some(_) => self.first,
        };
        self.again_at = Some(now + self.pause);
    }

    /// It is tried. As long as it works, more of the same need not wait long.
    pub(super) fn tried(&mut self, now: Instant) {
        self.tried_at = Some(now);
        self.again_at = Some(now + self.first);
    }

    /// From when on it may be tried; `None` while nothing has failed.
    pub(super) fn again_at(&self) -> Option<Instant> {
        self.again_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn backoff() -> Backoff {
        Backoff::new(&LadderPace::default())
    }

    #[test]
    fn tries_that_fail_become_rare() {
        let (mut backoff, start) = (backoff(), Instant::now());
        assert_eq!(backoff.again_at(), None);
        let mut now = start;
        let mut pauses = Vec::new();
        while now - start < 600 * MINUTE {
            backoff.failed(now);
            let again_at = backoff.again_at().unwrap();
            pauses.push((again_at - now).as_secs() / 60);
            // It is noticed after ten seconds that it does not work.
            backoff.tried(again_at);
            now = again_at + Duration::from_secs(10);
        }
        assert_eq!(pauses[..7], [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pauses.len(), 14, "tries in ten hours");
    }

    #[test]
    fn one_failure_after_the_other_is_one() {
        let (mut backoff, now) = (backoff(), Instant::now());
        backoff.failed(now);
        backoff.failed(now + MINUTE);
        assert_eq!(backoff.again_at(), Some(now + 3 * MINUTE));
    }

    #[test]
    fn what_works_is_followed_by_more_and_begins_anew_when_it_fails_much_later() {
        let (mut backoff, mut now) = (backoff(), Instant::now());
        for _ in 0..4 {
            backoff.failed(now);
            now = backoff.again_at().unwrap();
            backoff.tried(now);
        }
        assert_eq!(backoff.again_at(), Some(now + 2 * MINUTE));
        now += 30 * MINUTE;
        backoff.failed(now);
        assert_eq!(backoff.again_at(), Some(now + 32 * MINUTE), "half an hour is no proof");
        now = backoff.again_at().unwrap();
        backoff.tried(now);
        now += 61 * MINUTE;
        backoff.failed(now);
        assert_eq!(backoff.again_at(), Some(now + 2 * MINUTE));
    }
}
