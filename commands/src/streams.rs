//! Streams: started and ended by the node that takes them in.

use domain::{
    Aggregate, Claimed,
    ids::{ChannelId, NodeId, StreamId},
    streams::{
        AudioTrack, EncoderName, EndReason, Rendition, RenditionsReason, Stream, StreamCommand, StreamEvent,
        StreamRefusal, VideoTrack,
    },
};
use serde_json::value::RawValue;
use sqlx::types::Json;
use time::OffsetDateTime;
use tracing::error;

use crate::{Actor, CommandError, Commands, LoadError, Metadata, events};

/// A stream whose first key frame is in, or the first sound of one without a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct StartStream {
    /// The new stream, numbered by its node.
    pub stream_id: StreamId,
    /// Whose broadcast it is.
    pub channel_id: ChannelId,
    /// The node that takes it in.
    pub node_id: NodeId,
    /// The channel's title at this moment.
    pub title: String,
    /// The picture, if there is any.
    pub video: Option<VideoTrack>,
    /// The sound, if there is any.
    pub audio: Option<AudioTrack>,
    /// What the encoder calls itself, if it says.
    pub encoder: Option<EncoderName>,
}

/// Aggregate, type, version, payload and position of a start.
type StartRow = (String, String, String, Json<Box<RawValue>>, i64);

/// A stream that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenStream {
    /// The stream.
    pub stream_id: StreamId,
    /// Whose broadcast it is.
    pub channel_id: ChannelId,
    /// The node that takes it in.
    pub node_id: NodeId,
    /// When it started.
    pub started_at: OffsetDateTime,
    /// Where that is in the log.
    pub position: i64,
}

/// Stores that a stream started; the same again is fine. Answers the position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] with `StreamRefusal::ChannelLive` while the channel has another live stream.
pub async fn start(commands: &Commands, start: StartStream) -> Result<i64, CommandError<StreamRefusal>> {
    let StartStream { stream_id, channel_id, node_id, title, video, audio, encoder } = start;
    let command = StreamCommand::Start { stream_id, channel_id, node_id, title, video, audio, encoder };
    execute(commands, stream_id, node_id, command, StreamRefusal::AlreadyStarted).await
}

/// Stores which renditions a stream has now, and why; what is stored already is not stored again. Answers the position at
/// which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such stream, it has ended, or another node takes it in.
pub async fn change_renditions(
    commands: &Commands,
    stream_id: StreamId,
    node_id: NodeId,
    renditions: Vec<Rendition>,
    reason: RenditionsReason,
) -> Result<i64, CommandError<StreamRefusal>> {
    let command = StreamCommand::ChangeRenditions { node_id, renditions, reason };
    let metadata = Metadata::new(Actor::Ingest(node_id));
    let committed = commands.execute::<Stream>(&stream_id.to_string(), command, metadata).await?;
    Ok(committed.position)
}

/// Stores what a stream's encoder sends from now on; what is stored already is not stored again. Answers the position at which
/// the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such stream, it has ended, or another node takes it in.
pub async fn change_tracks(
    commands: &Commands,
    stream_id: StreamId,
    node_id: NodeId,
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
) -> Result<i64, CommandError<StreamRefusal>> {
    let command = StreamCommand::ChangeTracks { node_id, video, audio };
    let metadata = Metadata::new(Actor::Ingest(node_id));
    let committed = commands.execute::<Stream>(&stream_id.to_string(), command, metadata).await?;
    Ok(committed.position)
}

/// Stores that a stream ended; the same again is fine, and the first reason stays. Answers the position at which the
/// log shows it.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such stream, or another node takes it in.
pub async fn end(
    commands: &Commands,
    stream_id: StreamId,
    node_id: NodeId,
    reason: EndReason,
) -> Result<i64, CommandError<StreamRefusal>> {
    let command = StreamCommand::End { node_id, reason };
    execute(commands, stream_id, node_id, command, StreamRefusal::AlreadyEnded).await
}

/// Stores that a stream is over, whatever its node says: nothing is heard of that, or an operator wants it so. The same again is
/// fine, and the first reason stays. A node that still has the stream ends it when it reads that. Answers the position at which the
/// log shows it.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such stream.
pub async fn give_up(
    commands: &Commands,
    stream_id: StreamId,
    reason: EndReason,
    metadata: Metadata,
) -> Result<i64, CommandError<StreamRefusal>> {
    match commands.execute::<Stream>(&stream_id.to_string(), StreamCommand::GiveUp { reason }, metadata).await {
        Ok(committed) => Ok(committed.position),
        Err(CommandError::Refused(StreamRefusal::AlreadyEnded)) => Ok(events::head(commands.pool()).await?),
        Err(error) => Err(error),
    }
}

async fn execute(
    commands: &Commands,
    stream_id: StreamId,
    node_id: NodeId,
    command: StreamCommand,
    done_before: StreamRefusal,
) -> Result<i64, CommandError<StreamRefusal>> {
    let metadata = Metadata::new(Actor::Ingest(node_id));
    match commands.execute::<Stream>(&stream_id.to_string(), command, metadata).await {
        Ok(committed) => Ok(committed.position),
        Err(CommandError::Refused(refusal)) if refusal == done_before => Ok(events::head(commands.pool()).await?),
        Err(error) => Err(error),
    }
}

/// Where the oldest stream that has not ended started, of whichever node; `None` when none is open. Nothing is decoded for it.
///
/// # Errors
/// When the log does not answer.
pub async fn oldest_open(commands: &Commands) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "select min(event.position) from log.reservations reservation \
         join log.events event on event.aggregate_type = $1 and event.aggregate_id = reservation.aggregate_id \
             and event.sequence = 1 \
         where reservation.kind = $2",
    )
    .bind(Stream::TYPE)
    .bind(Claimed::LiveStream.as_str())
    .fetch_one(commands.pool())
    .await
}

/// The streams of a node that have not ended, oldest first; what a crash left open among them. One whose start cannot be read
/// is left out, as of [`all_open`].
///
/// # Errors
/// When the log does not answer.
pub async fn open_streams(commands: &Commands, node_id: NodeId) -> Result<Vec<OpenStream>, LoadError> {
    let mut open = all_open(commands).await?;
    open.retain(|open| open.node_id == node_id);
    Ok(open)
}

/// The stream of a channel that has not ended, if there is one that can be read.
///
/// # Errors
/// When the log does not answer.
pub async fn open_of_channel(commands: &Commands, channel_id: ChannelId) -> Result<Option<OpenStream>, LoadError> {
    Ok(find_open(commands, Some(channel_id)).await?.into_iter().next())
}

/// The streams of all nodes that have not ended, oldest first. One whose start cannot be read is left out and told of: whose it is
/// may not be known, nobody could end it, and the others must not wait for it.
///
/// # Errors
/// When the log does not answer.
pub async fn all_open(commands: &Commands) -> Result<Vec<OpenStream>, LoadError> {
    find_open(commands, None).await
}

async fn find_open(commands: &Commands, channel_id: Option<ChannelId>) -> Result<Vec<OpenStream>, LoadError> {
    // A stream holds its channel from start to end, so the reservations name those that are open.
    let rows: Vec<StartRow> = sqlx::query_as(
        "select event.aggregate_id, event.event_type, event.event_version, event.payload, event.position \
         from log.reservations reservation \
         join log.events event on event.aggregate_type = $1 and event.aggregate_id = reservation.aggregate_id \
             and event.sequence = 1 \
         where reservation.kind = $2 and ($3::text is null or reservation.name = $3) order by event.position",
    )
    .bind(Stream::TYPE)
    .bind(Claimed::LiveStream.as_str())
    .bind(channel_id.map(|channel_id| channel_id.to_string()))
    .fetch_all(commands.pool())
    .await?;
    let mut open = Vec::new();
    for (aggregate_id, event_type, event_version, payload, position) in rows {
        match domain::decode(&event_type, &event_version, payload.0.get()) {
            Ok(StreamEvent::Started { stream_id, channel_id, node_id, started_at, .. }) => {
                open.push(OpenStream { stream_id, channel_id, node_id, started_at, position });
            }
            Ok(_) => {}
            Err(error) => {
                let error = &error as &(dyn std::error::Error + 'static);
                error!(
                    event.position = position,
                    stream.id = aggregate_id,
                    error,
                    "the start of an open stream cannot be read"
                );
            }
        }
    }
    Ok(open)
}

/// Whether a stream has started and not ended.
///
/// # Errors
/// When the log does not answer or cannot be read.
pub async fn is_open(commands: &Commands, stream_id: StreamId) -> Result<bool, LoadError> {
    Ok(commands.load::<Stream>(&stream_id.to_string()).await?.is_some_and(|(stream, _)| stream.is_live()))
}

/// Whether the log has a stream of the channel that has not ended.
///
/// # Errors
/// When the log does not answer.
pub async fn is_live(commands: &Commands, channel_id: ChannelId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from log.reservations where kind = $1 and name = $2)")
        .bind(Claimed::LiveStream.as_str())
        .bind(channel_id.to_string())
        .fetch_one(commands.pool())
        .await
}

/// All streams that a channel has ever had, in the order in which they started.
///
/// # Errors
/// When the log does not answer.
pub async fn of_channel(commands: &Commands, channel_id: ChannelId) -> Result<Vec<StreamId>, sqlx::Error> {
    // By the index on the channels of aggregates, which has the same words.
    let ids: Vec<String> = sqlx::query_scalar(
        r#"select aggregate_id from log.events
           where substr(split_part(payload::text, '"channel_id":"', 2), 1, 36) = $1
               and sequence = 1 and aggregate_type <> 'channel' and strpos(payload::text, '"channel_id":"') > 0
               and split_part(payload::text, '"channel_id":"', 1) not like '{%{%{%' and aggregate_type = $2
           order by position"#,
    )
    .bind(channel_id.to_string())
    .bind(Stream::TYPE)
    .fetch_all(commands.pool())
    .await?;
    ids.iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
