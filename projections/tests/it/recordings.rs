use domain::{
    DomainEvent,
    channels::{ChannelEvent, Title},
    ids::{ChannelId, NodeId, RecordingId},
    recordings::{
        CutShort, RecordedRendition, RecordingDeletedReason, RecordingEvent, RecordingFailure, RecordingPolicy,
        RecordingState, RecordingVisibility,
    },
};
use projections::recordings::RecordingUsage;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    history::{Dice, after_seconds, closed, created, details_changed, new},
    stage::{PATIENCE, Stage},
};

fn started(recording_id: RecordingId, channel_id: ChannelId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Recording(RecordingEvent::Started {
        recording_id,
        stream_id: new(),
        channel_id,
        node_id: NodeId::from(Uuid::nil()),
        title: Title::parse("On the water").unwrap(),
        started_at: at,
    })
}

fn published(recording_id: RecordingId, channel_id: ChannelId, size_bytes: i64, at: OffsetDateTime) -> DomainEvent {
    let source = RecordedRendition {
        name: "source".to_owned(),
        width: 1_280,
        height: 720,
        codecs: "avc1.64001f".to_owned(),
        bitrate_bps: 2_500_000,
    };
    DomainEvent::Recording(RecordingEvent::Published {
        recording_id,
        channel_id,
        duration_ms: 61_000,
        size_bytes,
        renditions: vec![source],
        gap_count: 2,
        cut_short: Some(CutShort::StorageFull),
        published_at: at,
    })
}

fn failed(recording_id: RecordingId, channel_id: ChannelId, at: OffsetDateTime) -> DomainEvent {
    let reason = RecordingFailure::StorageUnavailable;
    DomainEvent::Recording(RecordingEvent::Failed { recording_id, channel_id, reason, failed_at: at })
}

fn edited(
    recording_id: RecordingId,
    channel_id: ChannelId,
    visibility: RecordingVisibility,
    at: OffsetDateTime,
) -> DomainEvent {
    DomainEvent::Recording(RecordingEvent::Edited {
        recording_id,
        channel_id,
        title: Title::parse("Edited").unwrap(),
        visibility,
        is_download_allowed: true,
        edited_at: at,
    })
}

fn deleted(recording_id: RecordingId, channel_id: ChannelId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Recording(RecordingEvent::Deleted {
        recording_id,
        channel_id,
        stream_id: new(),
        by: None,
        reason: RecordingDeletedReason::Quota,
        deleted_at: at,
    })
}

fn recording_changed(channel_id: ChannelId, recording: RecordingPolicy, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Channel(ChannelEvent::RecordingChanged { channel_id, recording, changed_at: at })
}

/// Something that happens to one of the recordings that are not deleted, or a new one of `channel_id`, or to what the channel
/// says of them; `true` for those that have ended.
pub(crate) fn step(
    dice: &mut Dice,
    recordings: &mut Vec<(RecordingId, ChannelId, bool)>,
    channel_id: ChannelId,
    at: OffsetDateTime,
) -> DomainEvent {
    if dice.roll(5) == 0 {
        let recording = RecordingPolicy { is_on: dice.roll(2) == 0, keep_days: Some(7), ..RecordingPolicy::default() };
        return recording_changed(channel_id, recording, at);
    }
    if recordings.is_empty() || dice.roll(3) == 0 {
        recordings.push((new(), channel_id, false));
        return started(recordings[recordings.len() - 1].0, channel_id, at);
    }
    let index = dice.roll(recordings.len());
    let (recording_id, channel_id, has_ended) = recordings[index];
    match dice.roll(5) {
        0 | 1 if !has_ended => {
            recordings[index].2 = true;
            published(recording_id, channel_id, 1_000, at)
        }
        2 if !has_ended => {
            recordings[index].2 = true;
            failed(recording_id, channel_id, at)
        }
        3 => {
            recordings.swap_remove(index);
            deleted(recording_id, channel_id, at)
        }
        _ => edited(recording_id, channel_id, RecordingVisibility::Archived, at),
    }
}

#[tokio::test]
async fn a_recording_shows_what_has_become_of_it() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (owner, channel, id, at) = (new(), new(), new(), after_seconds);
    let recordings = workers.read.recordings();
    let head = stage.append(&[created(channel, owner, "harbour", at(0)), started(id, channel, at(1))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = recordings.by_id(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.title.as_str(), row.version), (RecordingState::Recording, "On the water", 1));
    assert_eq!((row.channel_handle.as_str(), row.owner_id, row.duration_ms), ("harbour", owner, None));

    let visibility = RecordingVisibility::Unlisted;
    let head = stage
        .append(&[
            published(id, channel, 5_000, at(62)),
            details_changed(channel, "Another name", at(63)),
            edited(id, channel, visibility, at(64)),
        ])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = recordings.by_id(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.duration_ms, row.size_bytes), (RecordingState::Published, Some(61_000), Some(5_000)));
    assert_eq!((row.gap_count, row.cut_short, row.failure), (2, Some(CutShort::StorageFull), None));
    assert_eq!((row.title.as_str(), row.visibility, row.is_download_allowed), ("Edited", visibility, true));
    assert_eq!((row.published_at, row.updated_at, row.version), (Some(at(62)), at(64), 3));
    assert_eq!((row.channel_title.as_str(), row.renditions[0].name.as_str()), ("Another name", "source"));

    let (other, gone): (RecordingId, RecordingId) = (new(), new());
    let head = stage
        .append(&[
            started(other, channel, at(70)),
            failed(other, channel, at(71)),
            started(gone, channel, at(72)),
            published(gone, channel, 9, at(73)),
            deleted(gone, channel, at(74)),
        ])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = recordings.by_id(other).await.unwrap().unwrap();
    assert_eq!((row.state, row.failure), (RecordingState::Failed, Some(RecordingFailure::StorageUnavailable)));
    assert_eq!(recordings.by_id(gone).await.unwrap(), None);
    assert_eq!(recordings.usage(channel).await.unwrap(), RecordingUsage { count: 1, size_bytes: 5_000 });

    let head = stage.append(&[closed(channel, "harbour", at(80))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_eq!(recordings.by_id(id).await.unwrap(), None);
    assert_eq!(recordings.policy(channel).await.unwrap(), None);
}

#[tokio::test]
async fn everybody_finds_what_is_published_and_the_owner_all_that_is_left() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (channel, other, at): (ChannelId, ChannelId, _) = (new(), new(), after_seconds);
    let ids: Vec<RecordingId> = (0..6).map(|_| new()).collect();
    let policy = RecordingPolicy { is_on: true, keep_days: Some(7), max_size_bytes: Some(9), max_count: Some(3) };
    let head = stage
        .append(&[
            created(channel, new(), "harbour", at(0)),
            created(other, new(), "river", at(0)),
            recording_changed(channel, policy, at(0)),
            started(ids[0], channel, at(1)),
            published(ids[0], channel, 1, at(2)),
            started(ids[1], channel, at(3)),
            published(ids[1], channel, 2, at(4)),
            edited(ids[1], channel, RecordingVisibility::Archived, at(5)),
            started(ids[2], channel, at(6)),
            published(ids[2], channel, 3, at(7)),
            started(ids[3], channel, at(8)),
            started(ids[4], other, at(9)),
            published(ids[4], other, 4, at(10)),
            started(ids[5], channel, at(11)),
            deleted(ids[5], channel, at(12)),
        ])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let recordings = workers.read.recordings();
    let list = async |everything, after: Option<&projections::Cursor>, limit| {
        let page = recordings.of_channel(channel, everything, after, limit).await.unwrap();
        (page.items.iter().map(|row| row.id).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = list(false, None, 1).await;
    assert_eq!(first, [ids[2]]);
    assert_eq!(list(false, next.as_ref(), 9).await, (vec![ids[0]], None));
    assert_eq!(list(true, None, 9).await.0, [ids[3], ids[2], ids[1], ids[0]]);
    assert_eq!(recordings.usage(channel).await.unwrap(), RecordingUsage { count: 3, size_bytes: 6 });
    assert_eq!(recordings.policy(channel).await.unwrap(), Some(policy));
    assert_eq!(recordings.policy(other).await.unwrap(), Some(RecordingPolicy::default()));
}
