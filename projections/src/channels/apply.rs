use std::collections::{HashMap, HashSet};

use domain::{
    DomainEvent, Event, RecordedEvent,
    channels::{ChannelEvent, Visibility},
    sealed::{BoxFuture, Keyring},
    streams::StreamEvent,
};
use sqlx::{PgConnection, prelude::FromRow};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ApplyError, Projection};

/// Keeps `channels_v1`.
#[derive(Debug, Clone, Copy)]
pub struct ChannelsV1;

impl Projection for ChannelsV1 {
    fn name(&self) -> &'static str {
        "channels_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["channels_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[ChannelEvent::TYPES, StreamEvent::TYPES]
    }

    fn apply<'a>(
        &'a self,
        batch: &'a [&'a RecordedEvent],
        connection: &'a mut PgConnection,
        _: &'a dyn Keyring,
    ) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(async move {
            let mut rows = load(batch, connection).await?;
            let mut changed = HashSet::new();
            for recorded in batch {
                changed.extend(fold(&mut rows, recorded)?);
            }
            rows.retain(|id, _| changed.contains(id));
            if rows.is_empty() { Ok(()) } else { write(rows.into_values(), connection).await }
        })
    }
}

#[derive(FromRow)]
struct Channel {
    id: Uuid,
    owner_id: Uuid,
    handle: String,
    title: String,
    description: String,
    visibility: String,
    live_stream_id: Option<Uuid>,
    closed_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    version: i64,
    position: i64,
}

/// The rows that the batch changes, without those that it creates.
async fn load(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<HashMap<Uuid, Channel>, ApplyError> {
    let (mut created, mut touched) = (HashSet::new(), HashSet::new());
    for recorded in batch {
        match &recorded.event {
            DomainEvent::Channel(ChannelEvent::Created { channel_id, .. }) => created.insert(channel_id.uuid()),
            DomainEvent::Channel(
                ChannelEvent::DetailsChanged { channel_id, .. }
                | ChannelEvent::VisibilityChanged { channel_id, .. }
                | ChannelEvent::StreamKeyRotated { channel_id, .. }
                | ChannelEvent::RecordingChanged { channel_id, .. }
                | ChannelEvent::RoleGiven { channel_id, .. }
                | ChannelEvent::RoleTaken { channel_id, .. }
                | ChannelEvent::Closed { channel_id, .. },
            )
            | DomainEvent::Stream(StreamEvent::Started { channel_id, .. } | StreamEvent::Ended { channel_id, .. }) => {
                touched.insert(channel_id.uuid())
            }
            // A channel's row says which stream is on, not how it can be watched.
            DomainEvent::Stream(StreamEvent::RenditionsChanged { .. } | StreamEvent::TracksChanged { .. }) => false,
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
            | DomainEvent::Report(_) => false,
        };
    }
    let wanted: Vec<Uuid> = touched.difference(&created).copied().collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Channel> =
        sqlx::query_as("select * from channels_v1 where id = any($1)").bind(wanted).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// Folds one event in; the id of the row that it changed.
fn fold(rows: &mut HashMap<Uuid, Channel>, recorded: &RecordedEvent) -> Result<Option<Uuid>, ApplyError> {
    match &recorded.event {
        DomainEvent::Channel(event) => {
            let id = match event {
                ChannelEvent::Created { channel_id, owner_id, handle, title, description, created_at, .. } => {
                    let id = channel_id.uuid();
                    rows.insert(
                        id,
                        Channel {
                            id,
                            owner_id: owner_id.uuid(),
                            handle: handle.as_str().to_owned(),
                            title: title.as_str().to_owned(),
                            description: description.as_str().to_owned(),
                            visibility: Visibility::default().as_str().to_owned(),
                            live_stream_id: None,
                            closed_at: None,
                            created_at: *created_at,
                            updated_at: *created_at,
                            version: recorded.sequence,
                            position: recorded.position,
                        },
                    );
                    return Ok(Some(id));
                }
                ChannelEvent::DetailsChanged { channel_id, .. }
                | ChannelEvent::VisibilityChanged { channel_id, .. }
                | ChannelEvent::StreamKeyRotated { channel_id, .. }
                | ChannelEvent::RecordingChanged { channel_id, .. }
                | ChannelEvent::RoleGiven { channel_id, .. }
                | ChannelEvent::RoleTaken { channel_id, .. }
                | ChannelEvent::Closed { channel_id, .. } => channel_id.uuid(),
            };
            let unknown = || ApplyError::Unknown { event_type: event.event_type(), id: format!("channel {id}") };
            let row = rows.get_mut(&id).ok_or_else(unknown)?;
            if row.position >= recorded.position {
                return Ok(None);
            }
            match event {
                ChannelEvent::Created { .. } => {}
                ChannelEvent::DetailsChanged { title, description, changed_at, .. } => {
                    title.as_str().clone_into(&mut row.title);
                    description.as_str().clone_into(&mut row.description);
                    row.updated_at = *changed_at;
                }
                ChannelEvent::VisibilityChanged { visibility, changed_at, .. } => {
                    visibility.as_str().clone_into(&mut row.visibility);
                    row.updated_at = *changed_at;
                }
                // Nothing of the key is shown, but an editor's version counts it.
                ChannelEvent::StreamKeyRotated { rotated_at, .. } => row.updated_at = *rotated_at,
                ChannelEvent::RecordingChanged { changed_at, .. } => row.updated_at = *changed_at,
                // Nor of the team.
                ChannelEvent::RoleGiven { given_at, .. } => row.updated_at = *given_at,
                ChannelEvent::RoleTaken { taken_at, .. } => row.updated_at = *taken_at,
                // The row stays for what may still come of a stream that is ending; its texts go.
                ChannelEvent::Closed { closed_at, .. } => {
                    row.title.clear();
                    row.description.clear();
                    row.updated_at = *closed_at;
                    row.closed_at = Some(*closed_at);
                }
            }
            row.version = recorded.sequence;
            row.position = recorded.position;
            Ok(Some(id))
        }
        DomainEvent::Stream(event) => {
            let (StreamEvent::Started { stream_id, channel_id, .. } | StreamEvent::Ended { stream_id, channel_id, .. }) =
                event
            else {
                return Ok(None);
            };
            let (id, stream_id) = (channel_id.uuid(), stream_id.uuid());
            let unknown = || ApplyError::Unknown { event_type: event.event_type(), id: format!("channel {id}") };
            let row = rows.get_mut(&id).ok_or_else(unknown)?;
            if row.position >= recorded.position {
                return Ok(None);
            }
            match event {
                StreamEvent::Started { .. } => row.live_stream_id = Some(stream_id),
                // The end of an older stream says nothing about the one that is on.
                StreamEvent::Ended { .. } => row.live_stream_id = row.live_stream_id.filter(|live| *live != stream_id),
                StreamEvent::RenditionsChanged { .. } | StreamEvent::TracksChanged { .. } => {}
            }
            row.position = recorded.position;
            Ok(Some(id))
        }
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
        | DomainEvent::Report(_) => Ok(None),
    }
}

async fn write(rows: impl ExactSizeIterator<Item = Channel>, connection: &mut PgConnection) -> Result<(), ApplyError> {
    let count = rows.len();
    let column = || Vec::<Uuid>::with_capacity(count);
    let texts = || Vec::<String>::with_capacity(count);
    let (mut ids, mut owners, mut live) = (column(), column(), Vec::with_capacity(count));
    let (mut handles, mut titles, mut descriptions, mut visibilities) = (texts(), texts(), texts(), texts());
    let (mut created, mut updated) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut versions, mut positions, mut closed) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
    for row in rows {
        ids.push(row.id);
        owners.push(row.owner_id);
        handles.push(row.handle);
        titles.push(row.title);
        descriptions.push(row.description);
        visibilities.push(row.visibility);
        live.push(row.live_stream_id);
        created.push(row.created_at);
        updated.push(row.updated_at);
        versions.push(row.version);
        positions.push(row.position);
        closed.push(row.closed_at);
    }
    sqlx::query(
        "insert into channels_v1
             (id, owner_id, handle, title, description, live_stream_id, created_at, updated_at, version, position,
              closed_at, visibility)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[],
             $7::timestamptz[], $8::timestamptz[], $9::bigint[], $10::bigint[], $11::timestamptz[], $12::text[])
         on conflict (id) do update set
             title = excluded.title, description = excluded.description, live_stream_id = excluded.live_stream_id,
             updated_at = excluded.updated_at, version = excluded.version, position = excluded.position,
             closed_at = excluded.closed_at, visibility = excluded.visibility
         where channels_v1.position < excluded.position",
    )
    .bind(ids)
    .bind(owners)
    .bind(handles)
    .bind(titles)
    .bind(descriptions)
    .bind(live)
    .bind(created)
    .bind(updated)
    .bind(versions)
    .bind(positions)
    .bind(closed)
    .bind(visibilities)
    .execute(connection)
    .await?;
    Ok(())
}
