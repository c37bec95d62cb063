//! Copies of the log that somebody asked for: `exports_v1`.

mod apply;

use domain::{
    exports::{ExportFilter, ExportFormat, ExportState, ExportWay},
    ids::{AccountId, ExportId},
};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error as ValueError},
};
use sqlx::{PgPool, Row, postgres::PgRow, prelude::FromRow, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

pub use apply::ExportsV1;

use crate::{Cursor, Page, QueryError, page::PageQuery};

/// An export as whoever asked for it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRow {
    /// The export.
    pub id: ExportId,
    /// Who asked; `None` for the operator's command line.
    pub requested_by: Option<AccountId>,
    /// How it is handed out.
    pub way: ExportWay,
    /// Its form.
    pub format: ExportFormat,
    /// Which events it holds.
    pub filter: ExportFilter,
    /// How far it is.
    pub state: ExportState,
    /// How many events it holds; `None` until it is complete.
    pub event_count: Option<i64>,
    /// How long it is; `None` until it is complete.
    pub size_bytes: Option<i64>,
    /// Why it failed; `None` unless it did.
    pub failure: Option<String>,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// When it was complete; `None` until then.
    pub completed_at: Option<OffsetDateTime>,
    /// When it is deleted by itself; `None` where nothing is kept.
    pub expires_at: Option<OffsetDateTime>,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
    /// How many events it has had.
    pub version: i64,
}

/// Questions about exports; from [`ReadModels::exports`](crate::ReadModels::exports).
#[derive(Debug, Clone, Copy)]
pub struct Exports<'a> {
    pub(crate) pool: &'a PgPool,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "select id, requested_by, way, format, filter, state, event_count, size_bytes, failure, created_at, ",
            "completed_at, expires_at, updated_at, version from read.exports_v1 export ",
            $tail
        )
    };
}

impl Exports<'_> {
    /// The export of this id, if there is one.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_id(&self, id: ExportId) -> Result<Option<ExportRow>, QueryError> {
        Ok(sqlx::query_as(select!("where id = $1")).bind(id.uuid()).fetch_optional(self.pool).await?)
    }

    /// Exports that are made as files in the background, newest first, `limit` at a time (1 to
    /// [`MAX_LIMIT`](crate::MAX_LIMIT)), from the beginning or after where a page ended: those of a channel that `by`
    /// asked for, or everybody's of all.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn jobs(
        &self,
        by: Option<AccountId>,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<ExportRow>, QueryError> {
        let mut query = PageQuery::new(select!(""), limit);
        query.condition("way = ").push_bind(way_text(ExportWay::Job));
        if let Some(by) = by {
            query.condition("requested_by = ").push_bind(by.uuid());
            query.condition("filter->>'channel_id' is not null");
        }
        let page = query.fetch(self.pool, ("created_at", "id"), after, |row: &ExportRow| {
            Cursor::after(row.created_at, row.id.uuid())
        });
        Ok(page.await?)
    }

    /// How many files `by` waits for.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn pending_jobs(&self, by: AccountId) -> Result<i64, QueryError> {
        let count = sqlx::query_scalar(
            "select count(*) from read.exports_v1 where requested_by = $1 and way = $2 and state = 'requested'",
        )
        .bind(by.uuid())
        .bind(way_text(ExportWay::Job))
        .fetch_one(self.pool)
        .await?;
        Ok(count)
    }

    /// Exports whose time is over at `now`, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn expired(&self, now: OffsetDateTime, limit: i64) -> Result<Vec<ExportId>, QueryError> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "select id from read.exports_v1 where state = 'completed' and expires_at <= $1 order by expires_at limit $2",
        )
        .bind(now)
        .bind(limit)
        .fetch_all(self.pool)
        .await?;
        Ok(ids.into_iter().map(ExportId::from).collect())
    }
}

impl FromRow<'_, PgRow> for ExportRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get::<Uuid, _>("id")?.into(),
            requested_by: row.try_get::<Option<Uuid>, _>("requested_by")?.map(AccountId::from),
            way: word(row, "way")?,
            format: word(row, "format")?,
            filter: row.try_get::<Json<ExportFilter>, _>("filter")?.0,
            state: match row.try_get("state")? {
                "requested" => ExportState::Requested,
                "completed" => ExportState::Completed,
                "failed" => ExportState::Failed,
                "deleted" => ExportState::Deleted,
                other => return Err(sqlx::Error::Decode(format!("{other:?} is no state of an export").into())),
            },
            event_count: row.try_get("event_count")?,
            size_bytes: row.try_get("size_bytes")?,
            failure: row.try_get("failure")?,
            created_at: row.try_get("created_at")?,
            completed_at: row.try_get("completed_at")?,
            expires_at: row.try_get("expires_at")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// As stored; the same as in events.
fn way_text(way: ExportWay) -> &'static str {
    match way {
        ExportWay::Job => "job",
        ExportWay::Feed => "feed",
        ExportWay::CommandLine => "command_line",
    }
}

/// A word that `domain` knows.
fn word<'r, T: Deserialize<'r>>(row: &'r PgRow, column: &str) -> Result<T, sqlx::Error> {
    let word: &str = row.try_get(column)?;
    T::deserialize(word.into_deserializer())
        .map_err(|error: ValueError| sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() })
}
