use std::collections::{HashMap, HashSet};

use domain::{
    DomainEvent, Event, RecordedEvent,
    channels::{ChannelEvent, Visibility},
    sealed::{BoxFuture, Keyring},
    streams::{AudioTrack, Rendition, StreamEvent, VideoTrack},
};
use sqlx::{PgConnection, prelude::FromRow, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ApplyError, Projection};

/// Keeps `streams_v1` and `streams_v1_channels`.
#[derive(Debug, Clone, Copy)]
pub struct StreamsV1;

impl Projection for StreamsV1 {
    fn name(&self) -> &'static str {
        "streams_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["streams_v1", "streams_v1_channels"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[StreamEvent::TYPES, ChannelEvent::TYPES]
    }

    fn apply<'a>(
        &'a self,
        batch: &'a [&'a RecordedEvent],
        connection: &'a mut PgConnection,
        _: &'a dyn Keyring,
    ) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(async move {
            let mut streams = load(batch, connection).await?;
            let mut changed = HashSet::new();
            let mut channels = HashMap::new();
            for recorded in batch {
                match &recorded.event {
                    DomainEvent::Stream(event) => changed.extend(fold(&mut streams, event, recorded)?),
                    DomainEvent::Channel(event) => fold_channel(&mut channels, event, recorded.position),
                    DomainEvent::Account(_)
                    | DomainEvent::Session(_)
                    | DomainEvent::PersonalToken(_)
                    | DomainEvent::SignIn(_)
                    | DomainEvent::PersonalExport(_)
                    | DomainEvent::Email(_)
                    | DomainEvent::PasswordReset(_)
                    | DomainEvent::Profile(_)
                    | DomainEvent::Export(_)
                    | DomainEvent::Recording(_)
                    | DomainEvent::Invite(_)
                    | DomainEvent::Install(_)
                    | DomainEvent::RegistrationInvite(_)
                    | DomainEvent::Report(_) => {}
                }
            }
            write_channels(channels, connection).await?;
            streams.retain(|id, _| changed.contains(id));
            write(streams.into_values(), connection).await
        })
    }
}

#[derive(FromRow)]
struct Stream {
    id: Uuid,
    channel_id: Uuid,
    node_id: Uuid,
    title: String,
    video_codec: Option<String>,
    video_width: Option<i64>,
    video_height: Option<i64>,
    video_frame_rate: Option<f64>,
    audio_codec: Option<String>,
    audio_sample_rate: Option<i64>,
    audio_channels: Option<i16>,
    encoder: Option<String>,
    renditions: Json<Vec<Rendition>>,
    renditions_reason: Option<String>,
    started_at: OffsetDateTime,
    ended_at: Option<OffsetDateTime>,
    end_reason: Option<String>,
    duration_ms: Option<i64>,
    updated_at: OffsetDateTime,
    version: i64,
    position: i64,
}

impl Stream {
    /// What the encoder sends from now on.
    fn show(&mut self, video: Option<&VideoTrack>, audio: Option<&AudioTrack>) {
        self.video_codec = video.map(|video| video.codec.clone());
        self.video_width = video.map(|video| video.width.into());
        self.video_height = video.map(|video| video.height.into());
        self.video_frame_rate = video.map(|video| video.frame_rate);
        self.audio_codec = audio.map(|audio| audio.codec.clone());
        self.audio_sample_rate = audio.map(|audio| audio.sample_rate.into());
        self.audio_channels = audio.map(|audio| audio.channels.into());
    }
}

/// The rows that the batch changes, without those that it creates.
async fn load(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<HashMap<Uuid, Stream>, ApplyError> {
    let (mut started, mut touched) = (HashSet::new(), HashSet::new());
    for recorded in batch {
        match &recorded.event {
            DomainEvent::Stream(StreamEvent::Started { stream_id, .. }) => started.insert(stream_id.uuid()),
            DomainEvent::Stream(
                StreamEvent::RenditionsChanged { stream_id, .. }
                | StreamEvent::TracksChanged { stream_id, .. }
                | StreamEvent::Ended { stream_id, .. },
            ) => touched.insert(stream_id.uuid()),
            DomainEvent::Account(_)
            | DomainEvent::Session(_)
            | DomainEvent::PersonalToken(_)
            | DomainEvent::SignIn(_)
            | DomainEvent::PersonalExport(_)
            | DomainEvent::Email(_)
            | DomainEvent::PasswordReset(_)
            | DomainEvent::Profile(_)
            | DomainEvent::Channel(_)
            | DomainEvent::Export(_)
            | DomainEvent::Recording(_)
            | DomainEvent::Invite(_)
            | DomainEvent::Install(_)
            | DomainEvent::RegistrationInvite(_)
            | DomainEvent::Report(_) => false,
        };
    }
    let wanted: Vec<Uuid> = touched.difference(&started).copied().collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Stream> =
        sqlx::query_as("select * from streams_v1 where id = any($1)").bind(wanted).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// Folds one event in; the id of the row that it changed.
fn fold(
    rows: &mut HashMap<Uuid, Stream>,
    event: &StreamEvent,
    recorded: &RecordedEvent,
) -> Result<Option<Uuid>, ApplyError> {
    match event {
        StreamEvent::Started { stream_id, channel_id, node_id, title, video, audio, encoder, started_at } => {
            let id = stream_id.uuid();
            rows.insert(
                id,
                Stream {
                    id,
                    channel_id: channel_id.uuid(),
                    node_id: node_id.uuid(),
                    title: title.clone(),
                    video_codec: video.as_ref().map(|video| video.codec.clone()),
                    video_width: video.as_ref().map(|video| video.width.into()),
                    video_height: video.as_ref().map(|video| video.height.into()),
                    video_frame_rate: video.as_ref().map(|video| video.frame_rate),
                    audio_codec: audio.as_ref().map(|audio| audio.codec.clone()),
                    audio_sample_rate: audio.as_ref().map(|audio| audio.sample_rate.into()),
                    audio_channels: audio.as_ref().map(|audio| audio.channels.into()),
                    encoder: encoder.as_ref().map(|encoder| encoder.as_str().to_owned()),
                    renditions: Json(Vec::new()),
                    renditions_reason: None,
                    started_at: *started_at,
                    ended_at: None,
                    end_reason: None,
                    duration_ms: None,
                    updated_at: *started_at,
                    version: recorded.sequence,
                    position: recorded.position,
                },
            );
            Ok(Some(id))
        }
        StreamEvent::TracksChanged { stream_id, video, audio, changed_at, .. } => {
            let id = stream_id.uuid();
            let unknown = || ApplyError::Unknown { event_type: event.event_type(), id: format!("stream {id}") };
            let row = rows.get_mut(&id).ok_or_else(unknown)?;
            if row.position >= recorded.position {
                return Ok(None);
            }
            row.show(video.as_ref(), audio.as_ref());
            row.updated_at = *changed_at;
            row.version = recorded.sequence;
            row.position = recorded.position;
            Ok(Some(id))
        }
        StreamEvent::RenditionsChanged { stream_id, renditions, reason, changed_at, .. } => {
            let id = stream_id.uuid();
            let unknown = || ApplyError::Unknown { event_type: event.event_type(), id: format!("stream {id}") };
            let row = rows.get_mut(&id).ok_or_else(unknown)?;
            if row.position >= recorded.position {
                return Ok(None);
            }
            row.renditions = Json(renditions.clone());
            row.renditions_reason = Some(reason.as_str().to_owned());
            row.updated_at = *changed_at;
            row.version = recorded.sequence;
            row.position = recorded.position;
            Ok(Some(id))
        }
        StreamEvent::Ended { stream_id, reason, ended_at, duration_ms, .. } => {
            let id = stream_id.uuid();
            let unknown = || ApplyError::Unknown { event_type: event.event_type(), id: format!("stream {id}") };
            let row = rows.get_mut(&id).ok_or_else(unknown)?;
            if row.position >= recorded.position {
                return Ok(None);
            }
            row.ended_at = Some(*ended_at);
            row.end_reason = Some(reason.as_str().to_owned());
            row.duration_ms = Some(*duration_ms);
            row.updated_at = *ended_at;
            row.version = recorded.sequence;
            row.position = recorded.position;
            Ok(Some(id))
        }
    }
}

/// What is shown of a channel, as far as the events of a batch tell it.
#[derive(Default)]
struct Shown<'a> {
    /// Only where the channel is new.
    handle: Option<&'a str>,
    title: Option<&'a str>,
    visibility: Option<Visibility>,
    is_closed: bool,
    position: i64,
}

fn fold_channel<'a>(channels: &mut HashMap<Uuid, Shown<'a>>, event: &'a ChannelEvent, position: i64) {
    match event {
        ChannelEvent::Created { channel_id, handle, title, .. } => {
            let (handle, title) = (Some(handle.as_str()), Some(title.as_str()));
            let visibility = Some(Visibility::default());
            channels.insert(channel_id.uuid(), Shown { handle, title, visibility, is_closed: false, position });
        }
        ChannelEvent::DetailsChanged { channel_id, title, .. } => {
            let shown = channels.entry(channel_id.uuid()).or_default();
            (shown.title, shown.position) = (Some(title.as_str()), position);
        }
        ChannelEvent::VisibilityChanged { channel_id, visibility, .. } => {
            let shown = channels.entry(channel_id.uuid()).or_default();
            (shown.visibility, shown.position) = (Some(*visibility), position);
        }
        ChannelEvent::Closed { channel_id, .. } => {
            let shown = channels.entry(channel_id.uuid()).or_default();
            // Its texts go with it.
            (shown.title, shown.is_closed, shown.position) = (Some(""), true, position);
        }
        ChannelEvent::StreamKeyRotated { .. }
        | ChannelEvent::RecordingChanged { .. }
        | ChannelEvent::RoleGiven { .. }
        | ChannelEvent::RoleTaken { .. } => {}
    }
}

async fn write_channels(channels: HashMap<Uuid, Shown<'_>>, connection: &mut PgConnection) -> Result<(), ApplyError> {
    let (created, changed): (Vec<_>, Vec<_>) = channels.into_iter().partition(|(_, shown)| shown.handle.is_some());
    for (sql, rows) in [
        (
            "insert into streams_v1_channels (id, handle, title, visibility, is_closed, position)
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::bigint[])
             on conflict (id) do update set
                 title = excluded.title, visibility = excluded.visibility, is_closed = excluded.is_closed,
                 position = excluded.position
             where streams_v1_channels.position < excluded.position",
            created,
        ),
        (
            "update streams_v1_channels channel
             set title = coalesce(new.title, channel.title), visibility = coalesce(new.visibility, channel.visibility),
                 is_closed = new.is_closed, position = new.position
             from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::bigint[])
                 as new (id, handle, title, visibility, is_closed, position)
             where channel.id = new.id and channel.position < new.position",
            changed,
        ),
    ] {
        if rows.is_empty() {
            continue;
        }
        let (mut ids, mut handles, mut titles) = (Vec::new(), Vec::new(), Vec::new());
        let (mut visibilities, mut closed, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for (id, shown) in rows {
            ids.push(id);
            handles.push(shown.handle);
            titles.push(shown.title);
            visibilities.push(shown.visibility.map(Visibility::as_str));
            closed.push(shown.is_closed);
            positions.push(shown.position);
        }
        sqlx::query(sql)
            .bind(ids)
            .bind(handles)
            .bind(titles)
            .bind(visibilities)
            .bind(closed)
            .bind(positions)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn write(rows: impl ExactSizeIterator<Item = Stream>, connection: &mut PgConnection) -> Result<(), ApplyError> {
    if rows.len() == 0 {
        return Ok(());
    }
    let (mut ids, mut channels, mut nodes, mut titles) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut codecs, mut widths, mut heights, mut rates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut audio_codecs, mut sample_rates, mut audio_channels) = (Vec::new(), Vec::new(), Vec::new());
    let (mut started, mut ended, mut reasons, mut durations) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut updated, mut versions, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut encoders, mut renditions, mut renditions_reasons) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        ids.push(row.id);
        channels.push(row.channel_id);
        nodes.push(row.node_id);
        titles.push(row.title);
        codecs.push(row.video_codec);
        widths.push(row.video_width);
        heights.push(row.video_height);
        rates.push(row.video_frame_rate);
        audio_codecs.push(row.audio_codec);
        sample_rates.push(row.audio_sample_rate);
        audio_channels.push(row.audio_channels);
        started.push(row.started_at);
        ended.push(row.ended_at);
        reasons.push(row.end_reason);
        durations.push(row.duration_ms);
        updated.push(row.updated_at);
        versions.push(row.version);
        positions.push(row.position);
        encoders.push(row.encoder);
        renditions.push(row.renditions);
        renditions_reasons.push(row.renditions_reason);
    }
    sqlx::query(
        "insert into streams_v1
             (id, channel_id, node_id, title, video_codec, video_width, video_height, video_frame_rate, audio_codec,
              audio_sample_rate, audio_channels, started_at, ended_at, end_reason, duration_ms, updated_at, version,
              position, encoder, renditions, renditions_reason)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
             $8::float8[], $9::text[], $10::bigint[], $11::smallint[], $12::timestamptz[], $13::timestamptz[],
             $14::text[], $15::bigint[], $16::timestamptz[], $17::bigint[], $18::bigint[], $19::text[],
             $20::jsonb[], $21::text[])
         on conflict (id) do update set
             video_codec = excluded.video_codec, video_width = excluded.video_width,
             video_height = excluded.video_height, video_frame_rate = excluded.video_frame_rate,
             audio_codec = excluded.audio_codec, audio_sample_rate = excluded.audio_sample_rate,
             audio_channels = excluded.audio_channels,
             ended_at = excluded.ended_at, end_reason = excluded.end_reason, duration_ms = excluded.duration_ms,
             renditions = excluded.renditions, renditions_reason = excluded.renditions_reason,
             updated_at = excluded.updated_at, version = excluded.version, position = excluded.position
         where streams_v1.position < excluded.position",
    )
    .bind(ids)
    .bind(channels)
    .bind(nodes)
    .bind(titles)
    .bind(codecs)
    .bind(widths)
    .bind(heights)
    .bind(rates)
    .bind(audio_codecs)
    .bind(sample_rates)
    .bind(audio_channels)
    .bind(started)
    .bind(ended)
    .bind(reasons)
    .bind(durations)
    .bind(updated)
    .bind(versions)
    .bind(positions)
    .bind(encoders)
    .bind(renditions)
    .bind(renditions_reasons)
    .execute(connection)
    .await?;
    Ok(())
}
