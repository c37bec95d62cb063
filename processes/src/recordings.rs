//! Recordings: what is kept of them, and for how long.
//!
//! The rules follow the log and the clock: a channel that was closed takes its recordings with it; of each other channel what is
//! older than its limits allow goes, and then the oldest until the rest is few and small enough. Its newest recording goes by
//! age alone, so that a long stream is not lost the moment it is over: whoever makes it ends it at the limit. What is being made
//! counts for as much as there is of it, and copies for downloads count as well and go before any recording does; the clock
//! looks for both.
//!
//! To delete is an event first. What is stored goes after it, by a process of its own that tries until it is done, so that a
//! storage that is away holds up no rule and no crash leaves anything behind.

mod room;

use std::{collections::HashSet, error::Error, time::Duration};

use commands::{
    Actor, CommandError, Commands, Metadata,
    events::{self, Filter, Subject},
    recordings,
};
use domain::{
    Aggregate, DomainEvent,
    channels::{Channel, ChannelClosedReason, ChannelEvent},
    ids::{ChannelId, RecordingId},
    recordings::{
        RecordingDeletedReason, RecordingEvent, RecordingFailure, RecordingLimits, RecordingRefusal, RecordingState,
    },
};
use storage::{Key, Storage};
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval};

use self::room::Room;
use crate::{
    following::{Begin, BoxError, Followed, Following, Handler, Process, caused_by},
    leadership::Leadership,
};

const RULES: Process = Process {
    name: "recordings",
    types: &["recording.started", "recording.published", "channel.closed", "channel.recording_changed"],
    begin: Begin::Start,
};
const OBJECTS: Process =
    Process { name: "recording_objects", types: &["recording.deleted", "recording.failed"], begin: Begin::Start };
/// How often the clock is asked whether something has become too old.
const LOOKED_EVERY: Duration = Duration::from_secs(300);

/// How recordings are kept.
#[derive(Debug, Clone)]
pub struct RecordingsOptions {
    /// Where they are.
    pub storage: Storage,
    /// How much of a channel's recordings is kept; a channel's owner may want less.
    pub limits: RecordingLimits,
}

/// Keeps to the rules, for ever. Several nodes may. Cancel safe: what was under way is done again.
pub async fn run(commands: &Commands, following: &Following, options: &RecordingsOptions) {
    let rules = Rules { commands, limits: options.limits, room: Room::new(&options.storage) };
    let objects = Objects { storage: &options.storage };
    tokio::join!(following.follow(RULES, &rules), following.follow(OBJECTS, &objects), rules.watch_the_clock(),);
}

struct Rules<'a> {
    commands: &'a Commands,
    limits: RecordingLimits,
    room: Room<'a>,
}

impl Handler for Rules<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        let metadata = || caused_by(followed);
        match &followed.event {
            DomainEvent::Channel(ChannelEvent::Closed { channel_id, reason, .. }) => {
                for one in recordings::of_channel(self.commands, *channel_id).await? {
                    self.delete(one.recording_id, because(*reason), metadata()).await?;
                }
                Ok(())
            }
            // Of the two events the later one finds the other.
            DomainEvent::Recording(
                event @ (RecordingEvent::Started { recording_id, channel_id, .. }
                | RecordingEvent::Published { recording_id, channel_id, .. }),
            ) => match (self.closed(*channel_id).await?, event) {
                (Some(reason), _) => self.delete(*recording_id, because(reason), metadata()).await,
                (None, RecordingEvent::Published { .. }) => self.keep_to_limits(*channel_id, metadata).await,
                (None, _) => Ok(()),
            },
            DomainEvent::Channel(ChannelEvent::RecordingChanged { channel_id, .. }) => {
                self.keep_to_limits(*channel_id, metadata).await
            }
            _ => Ok(()),
        }
    }
}

fn because(reason: ChannelClosedReason) -> RecordingDeletedReason {
    match reason {
        ChannelClosedReason::Owner => RecordingDeletedReason::ChannelClosed,
        ChannelClosedReason::OwnerErased => RecordingDeletedReason::AccountErased,
    }
}

impl Rules<'_> {
    /// Why a channel was closed; `None` while it is not.
    async fn closed(&self, channel_id: ChannelId) -> Result<Option<ChannelClosedReason>, BoxError> {
        let id = channel_id.to_string();
        let channel = self.commands.load::<Channel>(&id).await?;
        if !channel.is_some_and(|(channel, _)| channel.is_closed()) {
            return Ok(None);
        }
        let subject = Subject { aggregate_type: Channel::TYPE.to_owned(), aggregate_id: id };
        let types = vec!["channel.closed".to_owned()];
        let filter = Filter { subject: Some(subject), types, ..Filter::default() };
        let stored = events::page(self.commands.pool(), &filter, 1).await?;
        let Some(stored) = stored.first() else { return Ok(Some(ChannelClosedReason::Owner)) };
        match domain::decode(&stored.event_type, &stored.event_version, stored.payload.get())? {
            ChannelEvent::Closed { reason, .. } => Ok(Some(reason)),
            _ => Ok(Some(ChannelClosedReason::Owner)),
        }
    }

    /// By what the log says alone, so that a storage that is away holds up nothing.
    async fn keep_to_limits(&self, channel_id: ChannelId, metadata: impl Fn() -> Metadata) -> Result<(), BoxError> {
        let Some((limits, kept)) = self.kept(channel_id).await? else { return Ok(()) };
        self.delete_beyond(kept, limits, metadata).await.map(drop)
    }

    /// By what the storage says, too; the recordings that are left.
    async fn keep_to_room(&self, channel_id: ChannelId) -> Result<Vec<recordings::KeptRecording>, BoxError> {
        let Some((limits, mut kept)) = self.kept(channel_id).await? else { return Ok(Vec::new()) };
        if limits.max_size_bytes.is_some() {
            self.room.weigh(&mut kept).await;
        }
        let left = self.delete_beyond(kept, limits, || Metadata::new(Actor::System)).await?;
        if let Some(max_bytes) = limits.max_size_bytes {
            self.room.drop_copies(&left, max_bytes).await;
        }
        Ok(left)
    }

    /// A channel's limits and its recordings, oldest first; `None` when there is no such channel any more.
    async fn kept(
        &self,
        channel_id: ChannelId,
    ) -> Result<Option<(RecordingLimits, Vec<recordings::KeptRecording>)>, BoxError> {
        let Some((_, policy)) = recordings::policy(self.commands, channel_id).await? else { return Ok(None) };
        let kept = recordings::of_channel(self.commands, channel_id).await?;
        Ok(Some((policy.within(self.limits), kept)))
    }

    /// What is left of them.
    async fn delete_beyond(
        &self,
        mut kept: Vec<recordings::KeptRecording>,
        limits: RecordingLimits,
        metadata: impl Fn() -> Metadata,
    ) -> Result<Vec<recordings::KeptRecording>, BoxError> {
        for (recording_id, reason) in beyond(&kept, limits, OffsetDateTime::now_utc()) {
            self.delete(recording_id, reason, metadata()).await?;
            kept.retain(|one| one.recording_id != recording_id);
        }
        Ok(kept)
    }

    async fn delete(
        &self,
        recording_id: RecordingId,
        reason: RecordingDeletedReason,
        metadata: Metadata,
    ) -> Result<(), BoxError> {
        match recordings::delete(self.commands, recording_id, None, reason, metadata).await {
            Ok(_) => {
                tracing::info!(recording.id = %recording_id, ?reason, "a recording was deleted");
                Ok(())
            }
            Err(CommandError::Refused(RecordingRefusal::Deleted | RecordingRefusal::Unknown)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go what becomes too old, for ever.
    async fn watch_the_clock(&self) {
        let mut leadership = Leadership::new("recording retention", self.commands.pool().clone());
        let mut rounds = interval(LOOKED_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            match leadership.is_ours().await {
                Ok(true) => {
                    if let Err(error) = self.look().await {
                        tracing::warn!(error = &*error as &dyn Error, "recordings that are too old stay for now");
                    }
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(error = &error as &dyn Error, "nobody knows who keeps recordings"),
            }
        }
    }

    async fn look(&self) -> Result<(), BoxError> {
        self.room.look_again();
        let mut known = HashSet::new();
        for channel_id in recordings::channels(self.commands).await? {
            known.extend(self.keep_to_room(channel_id).await?.into_iter().map(|one| one.recording_id));
        }
        self.room.forget_others(&known);
        Ok(())
    }
}

/// What of a channel's recordings, oldest first, is beyond its limits. What is being made takes room and does not go.
fn beyond(
    kept: &[recordings::KeptRecording],
    limits: RecordingLimits,
    now: OffsetDateTime,
) -> Vec<(RecordingId, RecordingDeletedReason)> {
    let mut gone = Vec::new();
    let mut watchable: Vec<_> = kept.iter().filter(|one| one.state == RecordingState::Published).collect();
    if let Some(days) = limits.keep_days {
        let oldest = now - time::Duration::days(days.into());
        // What failed takes no room, but has been told for long enough.
        let is_over = |one: &recordings::KeptRecording| {
            matches!(one.state, RecordingState::Published | RecordingState::Failed) && one.since <= oldest
        };
        let over = kept.iter().filter(|one| is_over(one));
        gone.extend(over.map(|one| (one.recording_id, RecordingDeletedReason::Retention)));
        watchable.retain(|one| !is_over(one));
    }
    let growing = kept.iter().filter(|one| one.state == RecordingState::Recording);
    let mut size_bytes: i64 = watchable.iter().copied().chain(growing).map(|one| one.size_bytes).sum();
    let mut count = watchable.len();
    for one in &watchable {
        let is_too_many = limits.max_count.is_some_and(|most| count > most as usize);
        let is_too_large = limits.max_size_bytes.is_some_and(|most| size_bytes > most);
        if count <= 1 || !(is_too_many || is_too_large) {
            break;
        }
        gone.push((one.recording_id, RecordingDeletedReason::Quota));
        count -= 1;
        size_bytes -= one.size_bytes;
    }
    gone
}

struct Objects<'a> {
    storage: &'a Storage,
}

impl Handler for Objects<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        let DomainEvent::Recording(event) = &followed.event else { return Ok(()) };
        // What its node has of it is published when that is back.
        if matches!(event, RecordingEvent::Failed { reason: RecordingFailure::NodeLost, .. }) {
            return Ok(());
        }
        let folder = Key::new(format!("recordings/{}", event.recording_id()))?;
        let objects = self.storage.delete_prefix(&folder).await?;
        tracing::debug!(recording.id = %event.recording_id(), objects, "what was stored of a recording is gone");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-21 10:00 UTC);

    fn kept(number: u128, days: i64, size_bytes: i64, state: RecordingState) -> recordings::KeptRecording {
        let since = NOW - time::Duration::days(days);
        recordings::KeptRecording { recording_id: Uuid::from_u128(number).into(), state, size_bytes, since }
    }

    fn gone(limits: RecordingLimits) -> Vec<(u128, RecordingDeletedReason)> {
        use RecordingState::{Failed, Published, Recording};
        let kept = [
            kept(1, 40, 100, Published),
            kept(2, 20, 200, Published),
            kept(3, 10, 0, Failed),
            kept(4, 5, 300, Published),
            kept(5, 0, 0, Recording),
        ];
        let gone = beyond(&kept, limits, NOW);
        gone.into_iter().map(|(id, reason)| (id.uuid().as_u128(), reason)).collect()
    }

    #[test]
    fn the_oldest_go_first_and_the_newest_by_age_alone() {
        use RecordingDeletedReason::{Quota, Retention};
        let none = RecordingLimits::default();
        assert_eq!(gone(none), []);
        assert_eq!(gone(RecordingLimits { keep_days: Some(20), ..none }), [(1, Retention), (2, Retention)]);
        assert_eq!(gone(RecordingLimits { max_count: Some(2), ..none }), [(1, Quota)]);
        assert_eq!(gone(RecordingLimits { max_size_bytes: Some(500), ..none }), [(1, Quota)]);
        assert_eq!(gone(RecordingLimits { max_size_bytes: Some(499), ..none }), [(1, Quota), (2, Quota)]);
        assert_eq!(
            gone(RecordingLimits { max_size_bytes: Some(1), max_count: Some(0), ..none }),
            [(1, Quota), (2, Quota)]
        );
        let both = RecordingLimits { keep_days: Some(30), max_size_bytes: Some(300), ..none };
        assert_eq!(gone(both), [(1, Retention), (2, Quota)]);
        assert_eq!(gone(RecordingLimits { keep_days: Some(0), ..none }).len(), 4);
    }

    #[test]
    fn what_is_being_made_counts_and_stays() {
        use RecordingState::{Published, Recording};
        let gone = |growing_bytes, max_size_bytes| {
            let kept = [
                kept(1, 3, 100, Published),
                kept(2, 2, 100, Published),
                kept(3, 1, 100, Published),
                kept(4, 0, growing_bytes, Recording),
            ];
            let limits = RecordingLimits { max_size_bytes: Some(max_size_bytes), ..RecordingLimits::default() };
            beyond(&kept, limits, NOW).into_iter().map(|(id, _)| id.uuid().as_u128()).collect::<Vec<_>>()
        };
        assert_eq!(gone(100, 400), []);
        assert_eq!(gone(101, 400), [1]);
        assert_eq!(gone(250, 400), [1, 2]);
        // The newest of those that can be watched goes by age alone.
        assert_eq!(gone(400, 400), [1, 2]);
    }
}
