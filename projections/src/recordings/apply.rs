use std::collections::{HashMap, HashSet};

use domain::{
    DomainEvent, Event, RecordedEvent,
    channels::{ChannelEvent, Visibility},
    recordings::{RecordedRendition, RecordingEvent, RecordingState, RecordingVisibility},
    sealed::{BoxFuture, Keyring},
};
use sqlx::{PgConnection, prelude::FromRow, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ApplyError, Projection};

/// Keeps `recordings_v1` and `recordings_v1_channels`.
#[derive(Debug, Clone, Copy)]
pub struct RecordingsV1;

impl Projection for RecordingsV1 {
    fn name(&self) -> &'static str {
        "recordings_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["recordings_v1", "recordings_v1_channels"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[RecordingEvent::TYPES, ChannelEvent::TYPES]
    }

    fn apply<'a>(
        &'a self,
        batch: &'a [&'a RecordedEvent],
        connection: &'a mut PgConnection,
        _: &'a dyn Keyring,
    ) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(async move {
            let mut recordings = load(batch, connection).await?;
            let mut channels = load_channels(batch, connection).await?;
            let (mut changed, mut changed_channels) = (HashSet::new(), HashSet::new());
            for recorded in batch {
                match &recorded.event {
                    DomainEvent::Recording(event) => changed.extend(fold(&mut recordings, event, recorded)?),
                    DomainEvent::Channel(event) => {
                        changed_channels.extend(fold_channel(&mut channels, event, recorded.position)?);
                    }
                    _ => {}
                }
            }
            channels.retain(|id, _| changed_channels.contains(id));
            write_channels(channels.into_values(), connection).await?;
            recordings.retain(|id, _| changed.contains(id));
            write(recordings.into_values(), connection).await
        })
    }
}

#[derive(FromRow)]
struct Recording {
    id: Uuid,
    stream_id: Uuid,
    channel_id: Uuid,
    node_id: Uuid,
    title: String,
    visibility: String,
    is_download_allowed: bool,
    state: String,
    duration_ms: Option<i64>,
    size_bytes: Option<i64>,
    renditions: Json<Vec<RecordedRendition>>,
    gap_count: i64,
    cut_short: Option<String>,
    failure: Option<String>,
    started_at: OffsetDateTime,
    published_at: Option<OffsetDateTime>,
    updated_at: OffsetDateTime,
    version: i64,
    position: i64,
}

/// The rows that the batch changes, without those that it creates.
async fn load(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<HashMap<Uuid, Recording>, ApplyError> {
    let (mut started, mut touched) = (HashSet::new(), HashSet::new());
    for recorded in batch {
        let DomainEvent::Recording(event) = &recorded.event else { continue };
        let id = event.recording_id().uuid();
        match event {
            RecordingEvent::Started { .. } => started.insert(id),
            RecordingEvent::Published { .. }
            | RecordingEvent::Failed { .. }
            | RecordingEvent::Edited { .. }
            | RecordingEvent::Deleted { .. } => touched.insert(id),
        };
    }
    let wanted: Vec<Uuid> = touched.difference(&started).copied().collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Recording> =
        sqlx::query_as("select * from recordings_v1 where id = any($1)").bind(wanted).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// Folds one event in; the id of the row that it changed.
fn fold(
    rows: &mut HashMap<Uuid, Recording>,
    event: &RecordingEvent,
    recorded: &RecordedEvent,
) -> Result<Option<Uuid>, ApplyError> {
    let id = event.recording_id().uuid();
    if let RecordingEvent::Started { stream_id, channel_id, node_id, title, started_at, .. } = event {
        let row = Recording {
            id,
            stream_id: stream_id.uuid(),
            channel_id: channel_id.uuid(),
            node_id: node_id.uuid(),
            title: title.as_str().to_owned(),
            visibility: RecordingVisibility::default().as_str().to_owned(),
            is_download_allowed: false,
            state: RecordingState::Recording.as_str().to_owned(),
            duration_ms: None,
            size_bytes: None,
            renditions: Json(Vec::new()),
            gap_count: 0,
            cut_short: None,
            failure: None,
            started_at: *started_at,
            published_at: None,
            updated_at: *started_at,
            version: recorded.sequence,
            position: recorded.position,
        };
        rows.insert(id, row);
        return Ok(Some(id));
    }
    let unknown = || ApplyError::Unknown { event_type: event.event_type(), id: format!("recording {id}") };
    let row = rows.get_mut(&id).ok_or_else(unknown)?;
    if row.position >= recorded.position {
        return Ok(None);
    }
    match event {
        RecordingEvent::Started { .. } => {}
        RecordingEvent::Published {
            duration_ms, size_bytes, renditions, gap_count, cut_short, published_at, ..
        } => {
            RecordingState::Published.as_str().clone_into(&mut row.state);
            row.duration_ms = Some(*duration_ms);
            row.size_bytes = Some(*size_bytes);
            row.renditions = Json(renditions.clone());
            row.gap_count = *gap_count;
            row.cut_short = cut_short.map(|cut_short| cut_short.as_str().to_owned());
            // It may have been given up with its node, which came back.
            row.failure = None;
            row.published_at = Some(*published_at);
            row.updated_at = *published_at;
        }
        RecordingEvent::Failed { reason, failed_at, .. } => {
            RecordingState::Failed.as_str().clone_into(&mut row.state);
            row.failure = Some(reason.as_str().to_owned());
            row.updated_at = *failed_at;
        }
        RecordingEvent::Edited { title, visibility, is_download_allowed, edited_at, .. } => {
            title.as_str().clone_into(&mut row.title);
            visibility.as_str().clone_into(&mut row.visibility);
            row.is_download_allowed = *is_download_allowed;
            row.updated_at = *edited_at;
        }
        RecordingEvent::Deleted { deleted_at, .. } => {
            RecordingState::Deleted.as_str().clone_into(&mut row.state);
            row.title.clear();
            row.updated_at = *deleted_at;
        }
    }
    row.version = recorded.sequence;
    row.position = recorded.position;
    Ok(Some(id))
}

#[derive(FromRow)]
struct Channel {
    id: Uuid,
    owner_id: Uuid,
    handle: String,
    title: String,
    visibility: String,
    is_closed: bool,
    is_on: bool,
    keep_days: Option<i64>,
    max_size_bytes: Option<i64>,
    max_count: Option<i64>,
    position: i64,
}

fn channel_id(event: &ChannelEvent) -> Uuid {
    match event {
        ChannelEvent::Created { channel_id, .. }
        | ChannelEvent::DetailsChanged { channel_id, .. }
        | ChannelEvent::VisibilityChanged { channel_id, .. }
        | ChannelEvent::StreamKeyRotated { channel_id, .. }
        | ChannelEvent::RecordingChanged { channel_id, .. }
        | ChannelEvent::RoleGiven { channel_id, .. }
        | ChannelEvent::RoleTaken { channel_id, .. }
        | ChannelEvent::Closed { channel_id, .. } => channel_id.uuid(),
    }
}

async fn load_channels(
    batch: &[&RecordedEvent],
    connection: &mut PgConnection,
) -> Result<HashMap<Uuid, Channel>, ApplyError> {
    let (mut created, mut touched) = (HashSet::new(), HashSet::new());
    for recorded in batch {
        match &recorded.event {
            DomainEvent::Channel(event @ ChannelEvent::Created { .. }) => created.insert(channel_id(event)),
            DomainEvent::Channel(event) => touched.insert(channel_id(event)),
            _ => false,
        };
    }
    let wanted: Vec<Uuid> = touched.difference(&created).copied().collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Channel> = sqlx::query_as("select * from recordings_v1_channels where id = any($1)")
        .bind(wanted)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

fn fold_channel(
    rows: &mut HashMap<Uuid, Channel>,
    event: &ChannelEvent,
    position: i64,
) -> Result<Option<Uuid>, ApplyError> {
    let id = channel_id(event);
    if let ChannelEvent::Created { owner_id, handle, title, .. } = event {
        let row = Channel {
            id,
            owner_id: owner_id.uuid(),
            handle: handle.as_str().to_owned(),
            title: title.as_str().to_owned(),
            visibility: Visibility::default().as_str().to_owned(),
            is_closed: false,
            is_on: false,
            keep_days: None,
            max_size_bytes: None,
            max_count: None,
            position,
        };
        rows.insert(id, row);
        return Ok(Some(id));
    }
    let unknown = || ApplyError::Unknown { event_type: event.event_type(), id: format!("channel {id}") };
    let row = rows.get_mut(&id).ok_or_else(unknown)?;
    if row.position >= position {
        return Ok(None);
    }
    match event {
        ChannelEvent::Created { .. } => {}
        ChannelEvent::DetailsChanged { title, .. } => title.as_str().clone_into(&mut row.title),
        ChannelEvent::VisibilityChanged { visibility, .. } => visibility.as_str().clone_into(&mut row.visibility),
        ChannelEvent::RecordingChanged { recording, .. } => {
            row.is_on = recording.is_on;
            row.keep_days = recording.keep_days.map(i64::from);
            row.max_size_bytes = recording.max_size_bytes;
            row.max_count = recording.max_count.map(i64::from);
        }
        // Its texts go with it.
        ChannelEvent::Closed { .. } => {
            row.is_closed = true;
            row.title.clear();
        }
        ChannelEvent::StreamKeyRotated { .. } | ChannelEvent::RoleGiven { .. } | ChannelEvent::RoleTaken { .. } => {
            return Ok(None);
        }
    }
    row.position = position;
    Ok(Some(id))
}

macro_rules! columns {
    ($rows:ident: $($column:ident),*) => {
        $(let mut $column = Vec::with_capacity($rows.len());)*
        for row in $rows {
            $($column.push(row.$column);)*
        }
    };
}

async fn write_channels(
    rows: impl ExactSizeIterator<Item = Channel>,
    connection: &mut PgConnection,
) -> Result<(), ApplyError> {
    if rows.len() == 0 {
        return Ok(());
    }
    columns!(rows: id, owner_id, handle, title, visibility, is_closed, is_on, keep_days, max_size_bytes, max_count,
        position);
    sqlx::query(
        "insert into recordings_v1_channels
             (id, owner_id, handle, title, visibility, is_closed, is_on, keep_days, max_size_bytes, max_count, position)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::boolean[],
             $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])
         on conflict (id) do update set
             title = excluded.title, visibility = excluded.visibility, is_closed = excluded.is_closed,
             is_on = excluded.is_on, keep_days = excluded.keep_days, max_size_bytes = excluded.max_size_bytes,
             max_count = excluded.max_count, position = excluded.position
         where recordings_v1_channels.position < excluded.position",
    )
    .bind(id)
    .bind(owner_id)
    .bind(handle)
    .bind(title)
    .bind(visibility)
    .bind(is_closed)
    .bind(is_on)
    .bind(keep_days)
    .bind(max_size_bytes)
    .bind(max_count)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}

async fn write(
    rows: impl ExactSizeIterator<Item = Recording>,
    connection: &mut PgConnection,
) -> Result<(), ApplyError> {
    if rows.len() == 0 {
        return Ok(());
    }
    columns!(rows: id, stream_id, channel_id, node_id, title, visibility, is_download_allowed, state, duration_ms,
        size_bytes, renditions, gap_count, cut_short, failure, started_at, published_at, updated_at, version, position);
    sqlx::query(
        "insert into recordings_v1
             (id, stream_id, channel_id, node_id, title, visibility, is_download_allowed, state, duration_ms, size_bytes,
              renditions, gap_count, cut_short, failure, started_at, published_at, updated_at, version, position)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::boolean[],
             $8::text[], $9::bigint[], $10::bigint[], $11::jsonb[], $12::bigint[], $13::text[], $14::text[],
             $15::timestamptz[], $16::timestamptz[], $17::timestamptz[], $18::bigint[], $19::bigint[])
         on conflict (id) do update set
             title = excluded.title, visibility = excluded.visibility,
             is_download_allowed = excluded.is_download_allowed, state = excluded.state,
             duration_ms = excluded.duration_ms, size_bytes = excluded.size_bytes, renditions = excluded.renditions,
             gap_count = excluded.gap_count, cut_short = excluded.cut_short, failure = excluded.failure,
             published_at = excluded.published_at, updated_at = excluded.updated_at, version = excluded.version,
             position = excluded.position
         where recordings_v1.position < excluded.position",
    )
    .bind(id)
    .bind(stream_id)
    .bind(channel_id)
    .bind(node_id)
    .bind(title)
    .bind(visibility)
    .bind(is_download_allowed)
    .bind(state)
    .bind(duration_ms)
    .bind(size_bytes)
    .bind(renditions)
    .bind(gap_count)
    .bind(cut_short)
    .bind(failure)
    .bind(started_at)
    .bind(published_at)
    .bind(updated_at)
    .bind(version)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}
