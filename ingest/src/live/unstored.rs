//! How streams of this node have ended that the write side does not know of yet: others who wonder are told, when they reach this node and
//! it does not reach the write side.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::{ids::StreamId, streams::EndReason};

use super::Live;

/// For so long others are still told once the write side has answered: that this node is there again they hear only by its next
/// beat, which comes every two seconds and may take five, and what it recorded is its own to finish.
const TOLD_AFTER: Duration = Duration::from_secs(15);

/// The ends that are being reported, and those that just were.
#[derive(Default)]
pub(super) struct Unstored(Mutex<HashMap<StreamId, End>>);

#[derive(Clone, Copy)]
struct End {
    reason: EndReason,
    answered: Option<Instant>,
}

impl End {
    fn is_told(&self, now: Instant) -> bool {
        self.answered.is_none_or(|answered| now.saturating_duration_since(answered) < TOLD_AFTER)
    }
}

impl Unstored {
    fn ends(&self) -> MutexGuard<'_, HashMap<StreamId, End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on others are told.
    pub(super) fn begin(&self, stream_id: StreamId, reason: EndReason) {
        self.ends().insert(stream_id, End { reason, answered: None });
    }

    /// The write side has answered, or is not asked any more.
    pub(super) fn finish(&self, stream_id: StreamId) {
        self.finish_at(stream_id, Instant::now());
    }

    fn finish_at(&self, stream_id: StreamId, now: Instant) {
        let mut ends = self.ends();
        if let Some(end) = ends.get_mut(&stream_id) {
            end.answered = Some(now);
        }
        ends.retain(|_, end| end.is_told(now));
    }

    fn told_at(&self, stream_id: StreamId, now: Instant) -> Option<EndReason> {
        self.ends().get(&stream_id).filter(|end| end.is_told(now)).map(|end| end.reason)
    }
}

impl Live {
    /// What a stream has ended as while that is not stored, and for a moment after; `None` for all others.
    pub(crate) fn unstored_end(&self, stream_id: StreamId) -> Option<EndReason> {
        self.0.unstored.told_at(stream_id, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn others_are_told_until_a_moment_after_the_write_side_has_answered() {
        let (unstored, begun) = (Unstored::default(), Instant::now());
        let [first, second] = [1, 2].map(|number| StreamId::from(Uuid::from_u128(number)));
        assert_eq!(unstored.told_at(first, begun), None);
        unstored.begin(first, EndReason::Unpublished);
        let hours_later = begun + Duration::from_secs(36_000);
        assert_eq!(unstored.told_at(first, hours_later), Some(EndReason::Unpublished));
        unstored.finish_at(first, hours_later);
        assert_eq!(unstored.told_at(first, hours_later + TOLD_AFTER / 2), Some(EndReason::Unpublished));
        let after = hours_later + TOLD_AFTER;
        assert_eq!(unstored.told_at(first, after), None);
        // What nobody is told any more is not kept.
        unstored.begin(second, EndReason::Crashed);
        unstored.finish_at(second, after);
        assert_eq!(unstored.ends().keys().collect::<Vec<_>>(), [&second]);
    }
}
