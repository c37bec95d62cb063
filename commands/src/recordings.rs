//! Recordings: begun and finished by the node that takes the stream in, edited and deleted by the channel's owner, deleted
//! by the limits of a channel and with it.

use std::collections::HashMap;

use domain::{
    Aggregate, Claimed, Invalid,
    channels::{Channel, ChannelCommand, ChannelRefusal, Title},
    ids::{AccountId, ChannelId, NodeId, RecordingId, StreamId},
    recordings::{
        FinishedRecording, Recording, RecordingCommand, RecordingDeletedReason, RecordingEvent, RecordingFailure,
        RecordingOrigin, RecordingPolicy, RecordingRefusal, RecordingState, RecordingVisibility,
    },
};
use serde_json::value::RawValue;
use sqlx::types::Json;
use thiserror::Error;
use time::OffsetDateTime;
use tracing::error;
use uuid::Uuid;

use crate::{Actor, CommandError, Commands, LoadError, Metadata, events};

/// A recording that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRecording {
    /// The recording.
    pub recording_id: RecordingId,
    /// The stream that it keeps.
    pub stream_id: StreamId,
    /// Whose broadcast that is.
    pub channel_id: ChannelId,
}

/// A recording that is being made as far as the log knows, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    /// The node that makes it.
    pub node_id: NodeId,
    /// The recording.
    pub recording: OpenRecording,
}

/// A recording that takes up room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptRecording {
    /// The recording.
    pub recording_id: RecordingId,
    /// How far it is: never deleted.
    pub state: RecordingState,
    /// All that is stored of it, in bytes; 0 while it is made.
    pub size_bytes: i64,
    /// When it was complete, or began while it is not.
    pub since: OffsetDateTime,
}

/// A change of what is said of a recording.
#[derive(Debug, Clone)]
pub struct EditRecording {
    /// Which recording.
    pub recording_id: RecordingId,
    /// The version that the editor saw; refused as `VersionStale` when it is no longer current.
    pub expected_version: Option<i64>,
    /// A new title as typed, or `None` to leave it.
    pub title: Option<String>,
    /// Who finds it, or `None` to leave it.
    pub visibility: Option<RecordingVisibility>,
    /// Whether viewers may download it, or `None` to leave it.
    pub is_download_allowed: Option<bool>,
    /// Who and why, for the log.
    pub metadata: Metadata,
}

/// Aggregate, sequence, type, version and payload.
type StoredRow = (String, i64, String, String, Json<Box<RawValue>>);

/// Why a recording was not edited.
#[derive(Debug, Error)]
pub enum RecordingsError {
    /// All fields that break a rule of their own; never empty.
    #[error("some fields are not valid")]
    Invalid(Vec<Invalid>),
    /// Refused, or not carried out.
    #[error(transparent)]
    Command(#[from] CommandError<RecordingRefusal>),
}

/// Begins the recording of a stream, if its channel records. The same stream again gives the same recording while this node
/// makes it; `None` when the channel does not record, was closed, or its stream has been recorded.
///
/// # Errors
/// [`CommandError`]; nothing is refused.
pub async fn start(
    commands: &Commands,
    stream_id: StreamId,
    channel_id: ChannelId,
    node_id: NodeId,
) -> Result<Option<OpenRecording>, CommandError<RecordingRefusal>> {
    if let Some(begun) = of_stream(commands, stream_id).await? {
        return Ok(made_by(commands, begun, node_id).await?);
    }
    let channel = commands.load::<Channel>(&channel_id.to_string()).await?.map(|(channel, _)| channel);
    let Some(title) = channel
        .filter(|channel| channel.recording().is_some_and(|recording| recording.is_on))
        .and_then(|channel| channel.title().cloned())
    else {
        return Ok(None);
    };
    let recording_id = RecordingId::from(Uuid::now_v7());
    let command = RecordingCommand::Start { recording_id, stream_id, channel_id, node_id, title };
    match execute(commands, recording_id, command, Metadata::new(Actor::Ingest(node_id))).await {
        Ok(_) => Ok(Some(OpenRecording { recording_id, stream_id, channel_id })),
        // An answer from before was lost.
        Err(CommandError::Refused(RecordingRefusal::StreamRecorded)) => {
            let begun = of_stream(commands, stream_id).await?;
            match begun {
                Some(begun) => Ok(made_by(commands, begun, node_id).await?),
                None => Ok(None),
            }
        }
        Err(error) => Err(error),
    }
}

/// Stores that a recording is complete; the same again is fine. Answers the position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such recording, or it was deleted.
pub async fn publish(
    commands: &Commands,
    recording_id: RecordingId,
    node_id: NodeId,
    finished: FinishedRecording,
) -> Result<i64, CommandError<RecordingRefusal>> {
    finish(commands, recording_id, node_id, RecordingCommand::Publish { finished }).await
}

/// Stores that nothing could be kept of a stream; the same again is fine. Answers the position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such recording, or it was deleted.
pub async fn fail(
    commands: &Commands,
    recording_id: RecordingId,
    node_id: NodeId,
    reason: RecordingFailure,
) -> Result<i64, CommandError<RecordingRefusal>> {
    finish(commands, recording_id, node_id, RecordingCommand::Fail { reason }).await
}

async fn finish(
    commands: &Commands,
    recording_id: RecordingId,
    node_id: NodeId,
    command: RecordingCommand,
) -> Result<i64, CommandError<RecordingRefusal>> {
    match execute(commands, recording_id, command, Metadata::new(Actor::Ingest(node_id))).await {
        Err(CommandError::Refused(RecordingRefusal::AlreadyFinished)) => Ok(events::head(commands.pool()).await?),
        other => other,
    }
}

/// Changes what is said of a recording and who finds it. Who may is for the caller to know: the recording itself knows its
/// channel, and not whose that is. Answers the position at which the log shows it.
///
/// # Errors
/// [`RecordingsError`]; refused for a stale version.
pub async fn edit(commands: &Commands, edit: EditRecording) -> Result<i64, RecordingsError> {
    let EditRecording { recording_id, expected_version, title, visibility, is_download_allowed, metadata } = edit;
    let title = title.as_deref().map(Title::parse).transpose();
    let title = title.map_err(|invalid| RecordingsError::Invalid(vec![invalid]))?;
    let command = RecordingCommand::Edit { expected_version, title, visibility, is_download_allowed };
    Ok(execute(commands, recording_id, command, metadata).await?)
}

/// Stores that a recording is not to be had any more; what is stored of it goes soon after. Answers the position at which
/// the log shows it.
///
/// # Errors
/// [`CommandError`]; refused when there is no such recording, it was deleted before, or its owner deletes it while it is
/// made.
pub async fn delete(
    commands: &Commands,
    recording_id: RecordingId,
    by: Option<AccountId>,
    reason: RecordingDeletedReason,
    metadata: Metadata,
) -> Result<i64, CommandError<RecordingRefusal>> {
    execute(commands, recording_id, RecordingCommand::Delete { by, reason }, metadata).await
}

/// Says whether a channel's streams are recorded and how much is kept, for its owner. Answers the position at which the log
/// shows it.
///
/// # Errors
/// [`CommandError::Refused`] to whoever may not, which depends on what changes, and when there is no such channel.
pub async fn change_policy(
    commands: &Commands,
    channel_id: ChannelId,
    by: AccountId,
    recording: RecordingPolicy,
    metadata: Metadata,
) -> Result<i64, CommandError<ChannelRefusal>> {
    let command = ChannelCommand::ChangeRecording { by, recording };
    Ok(commands.execute::<Channel>(&channel_id.to_string(), command, metadata).await?.position)
}

/// What a channel's owner has said of recordings, and who that is; `None` when there is no such channel, or not any more.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn policy(
    commands: &Commands,
    channel_id: ChannelId,
) -> Result<Option<(AccountId, RecordingPolicy)>, LoadError> {
    let channel = commands.load::<Channel>(&channel_id.to_string()).await?;
    Ok(channel.and_then(|(channel, _)| Some((channel.owner_id()?, channel.recording()?))))
}

/// The recordings that a node has begun and neither finished nor seen deleted, oldest first; what a crash left among them, and what
/// was given up while nothing was heard of the node. One that cannot be read is left out and told of: whose it is may not be known,
/// and the others must not wait for it.
///
/// # Errors
/// When the log does not answer.
pub async fn open_recordings(commands: &Commands, node_id: NodeId) -> Result<Vec<OpenRecording>, LoadError> {
    let unfinished = unfinished(commands, true).await?.into_iter();
    Ok(unfinished.filter(|under_way| under_way.node_id == node_id).map(|under_way| under_way.recording).collect())
}

/// The recordings of all nodes that are being made, oldest first, with what nodes have left so that are gone. What was given up
/// already is not among them. One that cannot be read is left out and told of.
///
/// # Errors
/// When the log does not answer.
pub async fn under_way(commands: &Commands) -> Result<Vec<UnderWay>, LoadError> {
    unfinished(commands, false).await
}

/// Those of which [`Recording::is_unfinished`] says so; without those that were given up, on demand: they are kept for ever, and not
/// even loaded then.
async fn unfinished(commands: &Commands, with_given_up: bool) -> Result<Vec<UnderWay>, LoadError> {
    let ids: Vec<String> = sqlx::query_scalar(
        "select reservation.aggregate_id from log.reservations reservation where reservation.kind = $2 and not exists ( \
             select from log.events event where event.aggregate_type = $1 and event.aggregate_id = reservation.aggregate_id \
                 and event.sequence > 1 \
                 and event.event_type in ('recording.published', 'recording.failed', 'recording.deleted') \
                 and (event.event_type <> 'recording.failed' or not $3 \
                     or event.payload->'Failed'->>'reason' is distinct from 'node_lost')) \
         order by reservation.aggregate_id",
    )
    .bind(Recording::TYPE)
    .bind(Claimed::RecordedStream.as_str())
    .bind(with_given_up)
    .fetch_all(commands.pool())
    .await?;
    let mut open = Vec::new();
    for id in ids {
        let Ok(recording_id) = id.parse::<RecordingId>() else { continue };
        match commands.load::<Recording>(&id).await {
            Err(error @ (LoadError::Unreadable { .. } | LoadError::Gap { .. })) => {
                let error = &error as &(dyn std::error::Error + 'static);
                error!(recording.id = %recording_id, error, "a recording that is not finished cannot be read");
            }
            loaded => {
                let recording = loaded?.map(|(recording, _)| recording).filter(Recording::is_unfinished);
                let Some(origin) = recording.and_then(|recording| recording.origin()) else { continue };
                let RecordingOrigin { stream_id, channel_id, node_id, .. } = origin;
                let recording = OpenRecording { recording_id, stream_id, channel_id };
                open.push(UnderWay { node_id, recording });
            }
        }
    }
    Ok(open)
}

/// The recordings that a node has published since `since` and that are not deleted, oldest first.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn published_by(
    commands: &Commands,
    node_id: NodeId,
    since: OffsetDateTime,
) -> Result<Vec<OpenRecording>, LoadError> {
    let ids: Vec<String> = sqlx::query_scalar(
        "select aggregate_id from log.events where event_type = 'recording.published' and recorded_at >= $1 order by position",
    )
    .bind(since)
    .fetch_all(commands.pool())
    .await?;
    let mut published = Vec::new();
    for id in ids {
        let Some((recording, _)) = commands.load::<Recording>(&id).await? else { continue };
        let is_there = recording.state() == Some(RecordingState::Published);
        let origin = recording.origin().filter(|origin| is_there && origin.node_id == node_id);
        published.extend(origin.map(|RecordingOrigin { recording_id, stream_id, channel_id, .. }| OpenRecording {
            recording_id,
            stream_id,
            channel_id,
        }));
    }
    Ok(published)
}

/// The node that keeps or kept a recording, and how far that is; `None` when there never was such a one.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn kept_by(
    commands: &Commands,
    recording_id: RecordingId,
) -> Result<Option<(NodeId, RecordingState)>, LoadError> {
    let recording = commands.load::<Recording>(&recording_id.to_string()).await?;
    Ok(recording.and_then(|(recording, _)| Some((recording.origin()?.node_id, recording.state()?))))
}

/// All recordings that a channel has ever had, by their ids, in the order in which they started. Nothing but the first words of
/// their events is read.
///
/// # Errors
/// When the log does not answer.
pub async fn ids_of_channel(commands: &Commands, channel_id: ChannelId) -> Result<Vec<RecordingId>, sqlx::Error> {
    // By the index on the channels of aggregates, which has the same words.
    let ids: Vec<String> = sqlx::query_scalar(
        r#"select aggregate_id from log.events
           where substr(split_part(payload::text, '"channel_id":"', 2), 1, 36) = $1
               and sequence = 1 and aggregate_type <> 'channel' and strpos(payload::text, '"channel_id":"') > 0
               and split_part(payload::text, '"channel_id":"', 1) not like '{%{%{%' and aggregate_type = $2
           order by position"#,
    )
    .bind(channel_id.to_string())
    .bind(Recording::TYPE)
    .fetch_all(commands.pool())
    .await?;
    ids.iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// A channel's recordings that take up room or will, oldest first.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn of_channel(commands: &Commands, channel_id: ChannelId) -> Result<Vec<KeptRecording>, LoadError> {
    // By the index on the channels of aggregates, which has the same words.
    let rows: Vec<StoredRow> = sqlx::query_as(
        r#"with own as (
               select aggregate_id from log.events
               where substr(split_part(payload::text, '"channel_id":"', 2), 1, 36) = $1
                   and sequence = 1 and aggregate_type <> 'channel' and strpos(payload::text, '"channel_id":"') > 0
                   and split_part(payload::text, '"channel_id":"', 1) not like '{%{%{%' and aggregate_type = $2)
           select event.aggregate_id, event.sequence, event.event_type, event.event_version, event.payload
           from own join log.events event on event.aggregate_type = $2 and event.aggregate_id = own.aggregate_id
           order by event.position"#,
    )
    .bind(channel_id.to_string())
    .bind(Recording::TYPE)
    .fetch_all(commands.pool())
    .await?;
    let mut kept: Vec<KeptRecording> = Vec::new();
    let mut places: HashMap<RecordingId, usize> = HashMap::new();
    for (aggregate_id, sequence, event_type, event_version, payload) in rows {
        let event: RecordingEvent = domain::decode(&event_type, &event_version, payload.0.get()).map_err(|error| {
            LoadError::Unreadable { aggregate_type: Recording::TYPE, aggregate_id, sequence, source: error.into() }
        })?;
        let recording_id = event.recording_id();
        if let RecordingEvent::Started { started_at, .. } = &event {
            places.insert(recording_id, kept.len());
            let state = RecordingState::Recording;
            kept.push(KeptRecording { recording_id, state, size_bytes: 0, since: *started_at });
            continue;
        }
        let Some(one) = places.get(&recording_id).and_then(|place| kept.get_mut(*place)) else { continue };
        match event {
            RecordingEvent::Started { .. } | RecordingEvent::Edited { .. } => {}
            RecordingEvent::Published { size_bytes, published_at, .. } => {
                (one.state, one.size_bytes, one.since) = (RecordingState::Published, size_bytes, published_at);
            }
            RecordingEvent::Failed { failed_at, .. } => {
                (one.state, one.since) = (RecordingState::Failed, failed_at);
            }
            RecordingEvent::Deleted { .. } => one.state = RecordingState::Deleted,
        }
    }
    kept.retain(|one| one.state != RecordingState::Deleted);
    Ok(kept)
}

/// The channels that have had a recording, in no particular order.
///
/// # Errors
/// When the log does not answer.
pub async fn channels(commands: &Commands) -> Result<Vec<ChannelId>, LoadError> {
    let ids: Vec<String> = sqlx::query_scalar(
        r#"select distinct substr(split_part(event.payload::text, '"channel_id":"', 2), 1, 36)
           from log.reservations reservation join log.events event on event.aggregate_type = $1
               and event.aggregate_id = reservation.aggregate_id and event.sequence = 1
           where reservation.kind = $2"#,
    )
    .bind(Recording::TYPE)
    .bind(Claimed::RecordedStream.as_str())
    .fetch_all(commands.pool())
    .await?;
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

/// The recording that a stream has, or has had.
///
/// # Errors
/// When the log does not answer.
pub async fn of_stream(commands: &Commands, stream_id: StreamId) -> Result<Option<RecordingId>, sqlx::Error> {
    let held: Option<String> =
        sqlx::query_scalar("select aggregate_id from log.reservations where kind = $1 and name = $2")
            .bind(Claimed::RecordedStream.as_str())
            .bind(stream_id.to_string())
            .fetch_optional(commands.pool())
            .await?;
    held.map(|id| id.parse()).transpose().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// The recording, if this node makes it.
async fn made_by(
    commands: &Commands,
    recording_id: RecordingId,
    node_id: NodeId,
) -> Result<Option<OpenRecording>, LoadError> {
    let Some((recording, _)) = commands.load::<Recording>(&recording_id.to_string()).await? else { return Ok(None) };
    let is_open = recording.state() == Some(RecordingState::Recording);
    Ok(recording.origin().filter(|origin| is_open && origin.node_id == node_id).map(|origin| OpenRecording {
        recording_id,
        stream_id: origin.stream_id,
        channel_id: origin.channel_id,
    }))
}

async fn execute(
    commands: &Commands,
    recording_id: RecordingId,
    command: RecordingCommand,
    metadata: Metadata,
) -> Result<i64, CommandError<RecordingRefusal>> {
    Ok(commands.execute::<Recording>(&recording_id.to_string(), command, metadata).await?.position)
}
