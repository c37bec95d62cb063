use std::collections::{HashMap, HashSet};

use domain::{
    DomainEvent, Event, RecordedEvent,
    exports::{ExportEvent, ExportFilter},
    sealed::{BoxFuture, Keyring},
};
use sqlx::{PgConnection, prelude::FromRow, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::way_text;
use crate::{ApplyError, Projection};

/// Keeps `exports_v1`.
#[derive(Debug, Clone, Copy)]
pub struct ExportsV1;

impl Projection for ExportsV1 {
    fn name(&self) -> &'static str {
        "exports_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["exports_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[ExportEvent::TYPES]
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
struct Export {
    id: Uuid,
    requested_by: Option<Uuid>,
    way: String,
    format: String,
    filter: Json<ExportFilter>,
    state: String,
    event_count: Option<i64>,
    size_bytes: Option<i64>,
    failure: Option<String>,
    created_at: OffsetDateTime,
    completed_at: Option<OffsetDateTime>,
    expires_at: Option<OffsetDateTime>,
    updated_at: OffsetDateTime,
    version: i64,
    position: i64,
}

/// The rows that the batch changes, without those that it creates.
async fn load(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<HashMap<Uuid, Export>, ApplyError> {
    let (mut requested, mut touched) = (HashSet::new(), HashSet::new());
    for recorded in batch {
        match &recorded.event {
            DomainEvent::Export(ExportEvent::Requested { export_id, .. }) => requested.insert(export_id.uuid()),
            DomainEvent::Export(
                ExportEvent::Completed { export_id, .. }
                | ExportEvent::Failed { export_id, .. }
                | ExportEvent::Deleted { export_id, .. },
            ) => touched.insert(export_id.uuid()),
            _ => false,
        };
    }
    let wanted: Vec<Uuid> = touched.difference(&requested).copied().collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Export> =
        sqlx::query_as("select * from exports_v1 where id = any($1)").bind(wanted).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// Folds one event in; the id of the row that it changed.
fn fold(rows: &mut HashMap<Uuid, Export>, recorded: &RecordedEvent) -> Result<Option<Uuid>, ApplyError> {
    let DomainEvent::Export(event) = &recorded.event else { return Ok(None) };
    let id = match event {
        ExportEvent::Requested { export_id, by, way, format, filter, requested_at, .. } => {
            let id = export_id.uuid();
            let row = Export {
                id,
                requested_by: by.map(|by| by.uuid()),
                way: way_text(*way).to_owned(),
                format: format.as_str().to_owned(),
                filter: Json(filter.clone()),
                state: "requested".to_owned(),
                event_count: None,
                size_bytes: None,
                failure: None,
                created_at: *requested_at,
                completed_at: None,
                expires_at: None,
                updated_at: *requested_at,
                version: recorded.sequence,
                position: recorded.position,
            };
            rows.insert(id, row);
            return Ok(Some(id));
        }
        ExportEvent::Completed { export_id, .. }
        | ExportEvent::Failed { export_id, .. }
        | ExportEvent::Deleted { export_id, .. } => export_id.uuid(),
    };
    let unknown = || ApplyError::Unknown { event_type: event.event_type(), id: format!("export {id}") };
    let row = rows.get_mut(&id).ok_or_else(unknown)?;
    if row.position >= recorded.position {
        return Ok(None);
    }
    match event {
        ExportEvent::Requested { .. } => {}
        ExportEvent::Completed { event_count, size_bytes, completed_at, expires_at, .. } => {
            "completed".clone_into(&mut row.state);
            row.event_count = Some(*event_count);
            row.size_bytes = Some(*size_bytes);
            row.completed_at = Some(*completed_at);
            row.expires_at = *expires_at;
            row.updated_at = *completed_at;
        }
        ExportEvent::Failed { reason, failed_at, .. } => {
            "failed".clone_into(&mut row.state);
            row.failure = Some(reason.clone());
            row.updated_at = *failed_at;
        }
        ExportEvent::Deleted { deleted_at, .. } => {
            "deleted".clone_into(&mut row.state);
            row.updated_at = *deleted_at;
        }
    }
    row.version = recorded.sequence;
    row.position = recorded.position;
    Ok(Some(id))
}

async fn write(rows: impl ExactSizeIterator<Item = Export>, connection: &mut PgConnection) -> Result<(), ApplyError> {
    macro_rules! columns {
        ($($column:ident),*) => {
            $(let mut $column = Vec::with_capacity(rows.len());)*
            for row in rows {
                $($column.push(row.$column);)*
            }
        };
    }
    columns!(
        id,
        requested_by,
        way,
        format,
        filter,
        state,
        event_count,
        size_bytes,
        failure,
        created_at,
        completed_at,
        expires_at,
        updated_at,
        version,
        position
    );
    sqlx::query(
        "insert into exports_v1
             (id, requested_by, way, format, filter, state, event_count, size_bytes, failure, created_at, completed_at,
              expires_at, updated_at, version, position)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::bigint[],
             $8::bigint[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[],
             $14::bigint[], $15::bigint[])
         on conflict (id) do update set
             state = excluded.state, event_count = excluded.event_count, size_bytes = excluded.size_bytes,
             failure = excluded.failure, completed_at = excluded.completed_at, expires_at = excluded.expires_at,
             updated_at = excluded.updated_at, version = excluded.version, position = excluded.position
         where exports_v1.position < excluded.position",
    )
    .bind(id)
    .bind(requested_by)
    .bind(way)
    .bind(format)
    .bind(filter)
    .bind(state)
    .bind(event_count)
    .bind(size_bytes)
    .bind(failure)
    .bind(created_at)
    .bind(completed_at)
    .bind(expires_at)
    .bind(updated_at)
    .bind(version)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}
