//! Streams that are kept for later watching: `recordings_v1`.

mod apply;

use domain::{
    channels::Visibility,
    ids::{AccountId, ChannelId, RecordingId, StreamId},
    recordings::{CutShort, RecordedRendition, RecordingFailure, RecordingPolicy, RecordingState, RecordingVisibility},
};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error as ValueError},
};
use sqlx::{PgPool, Row, postgres::PgRow, prelude::FromRow, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

pub use apply::RecordingsV1;

use crate::{Cursor, Page, QueryError, accounts::suspended_accounts, page::PageQuery};

/// A recording that was not deleted, of a channel that was not closed.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordingRow {
    /// The recording.
    pub id: RecordingId,
    /// The stream that it keeps.
    pub stream_id: StreamId,
    /// Whose broadcast that was.
    pub channel_id: ChannelId,
    /// The channel's handle.
    pub channel_handle: String,
    /// The channel's title, as it is now.
    pub channel_title: String,
    /// Who may watch the channel.
    pub channel_visibility: Visibility,
    /// Who owns the channel.
    pub owner_id: AccountId,
    /// Its title.
    pub title: String,
    /// Who finds it.
    pub visibility: RecordingVisibility,
    /// Whether viewers may download it.
    pub is_download_allowed: bool,
    /// How far it is.
    pub state: RecordingState,
    /// How long it plays, in milliseconds; `None` until it is published.
    pub duration_ms: Option<i64>,
    /// All that is stored of it, in bytes; `None` until it is published.
    pub size_bytes: Option<i64>,
    /// The qualities that it can be watched in; empty until it is published.
    pub renditions: Vec<RecordedRendition>,
    /// How often something of the stream is missing in between.
    pub gap_count: i64,
    /// Why it is shorter than its stream; `None` when it is not.
    pub cut_short: Option<CutShort>,
    /// Why there is nothing of it; `None` unless it failed.
    pub failure: Option<RecordingFailure>,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// When it was complete; `None` until then.
    pub published_at: Option<OffsetDateTime>,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
    /// How many events it has had.
    pub version: i64,
}

/// What a channel's recordings take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordingUsage {
    /// How many can be watched.
    pub count: i64,
    /// How large they are together, in bytes.
    pub size_bytes: i64,
}

/// Whether it is on, days, bytes and number.
type PolicyRow = (bool, Option<i64>, Option<i64>, Option<i64>);

/// Questions about recordings; from [`ReadModels::recordings`](crate::ReadModels::recordings).
#[derive(Debug, Clone, Copy)]
pub struct Recordings<'a> {
    pub(crate) pool: &'a PgPool,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "select recording.id, recording.stream_id, recording.channel_id, channel.handle as channel_handle, ",
            "channel.title as channel_title, channel.visibility as channel_visibility, channel.owner_id, ",
            "recording.title, recording.visibility, recording.is_download_allowed, recording.state, ",
            "recording.duration_ms, recording.size_bytes, recording.renditions, recording.gap_count, ",
            "recording.cut_short, recording.failure, recording.started_at, recording.published_at, ",
            "recording.updated_at, recording.version ",
            // Both tables are this projection's own: a recording is never there before its channel, and goes with it.
            "from read.recordings_v1 recording join read.recordings_v1_channels channel ",
            "on channel.id = recording.channel_id and not channel.is_closed ",
            $tail
        )
    };
}

/// That its channel's owner is not suspended.
macro_rules! shown {
    () => {
        concat!("channel.owner_id not in ", suspended_accounts!())
    };
}

impl Recordings<'_> {
    /// The recording of this id, however far it is; `None` when there is none, it was deleted, its channel was closed or
    /// the channel's owner is suspended.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_id(&self, id: RecordingId) -> Result<Option<RecordingRow>, QueryError> {
        let row =
            sqlx::query_as(concat!(select!("where recording.id = $1 and recording.state <> 'deleted' and "), shown!()))
                .bind(id.uuid())
                .fetch_optional(self.pool)
                .await?;
        Ok(row)
    }

    /// A channel's recordings, newest first, `limit` at a time (1 to [`MAX_LIMIT`](crate::MAX_LIMIT)), from the beginning or
    /// after where a page ended: those that everybody finds, or for `everything` all that were not deleted.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn of_channel(
        &self,
        channel_id: ChannelId,
        everything: bool,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<RecordingRow>, QueryError> {
        let mut query = PageQuery::new(select!(""), limit);
        query.condition(shown!());
        query.condition("recording.channel_id = ").push_bind(channel_id.uuid());
        if everything {
            query.condition("recording.state <> 'deleted'");
        } else {
            query.condition("recording.state = 'published' and recording.visibility = 'published'");
        }
        let page = query.fetch(self.pool, ("recording.started_at", "recording.id"), after, |row: &RecordingRow| {
            Cursor::after(row.started_at, row.id.uuid())
        });
        Ok(page.await?)
    }

    /// What a channel's recordings take that can be watched.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn usage(&self, channel_id: ChannelId) -> Result<RecordingUsage, QueryError> {
        let (count, size_bytes): (i64, i64) = sqlx::query_as(
            "select count(*), coalesce(sum(size_bytes), 0)::bigint from read.recordings_v1 \
             where channel_id = $1 and state = 'published'",
        )
        .bind(channel_id.uuid())
        .fetch_one(self.pool)
        .await?;
        Ok(RecordingUsage { count, size_bytes })
    }

    /// What a channel's owner has said of recordings; `None` when there is no such channel, or not any more.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn policy(&self, channel_id: ChannelId) -> Result<Option<RecordingPolicy>, QueryError> {
        let row: Option<PolicyRow> = sqlx::query_as(
            "select is_on, keep_days, max_size_bytes, max_count from read.recordings_v1_channels \
             where id = $1 and not is_closed",
        )
        .bind(channel_id.uuid())
        .fetch_optional(self.pool)
        .await?;
        let small = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
        Ok(row.map(|(is_on, keep_days, max_size_bytes, max_count)| RecordingPolicy {
            is_on,
            keep_days: small(keep_days),
            max_size_bytes,
            max_count: small(max_count),
        }))
    }
}

impl FromRow<'_, PgRow> for RecordingRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let channel_visibility: &str = row.try_get("channel_visibility")?;
        Ok(Self {
            id: row.try_get::<Uuid, _>("id")?.into(),
            stream_id: row.try_get::<Uuid, _>("stream_id")?.into(),
            channel_id: row.try_get::<Uuid, _>("channel_id")?.into(),
            channel_handle: row.try_get("channel_handle")?,
            channel_title: row.try_get("channel_title")?,
            channel_visibility: Visibility::from_stored(channel_visibility).ok_or_else(|| {
                sqlx::Error::Decode(format!("{channel_visibility:?} is no visibility of a channel").into())
            })?,
            owner_id: row.try_get::<Uuid, _>("owner_id")?.into(),
            title: row.try_get("title")?,
            visibility: word("visibility", row.try_get("visibility")?)?,
            is_download_allowed: row.try_get("is_download_allowed")?,
            state: word("state", row.try_get("state")?)?,
            duration_ms: row.try_get("duration_ms")?,
            size_bytes: row.try_get("size_bytes")?,
            renditions: row.try_get::<Json<Vec<RecordedRendition>>, _>("renditions")?.0,
            gap_count: row.try_get("gap_count")?,
            cut_short: row.try_get::<Option<&str>, _>("cut_short")?.map(|text| word("cut_short", text)).transpose()?,
            failure: row.try_get::<Option<&str>, _>("failure")?.map(|text| word("failure", text)).transpose()?,
            started_at: row.try_get("started_at")?,
            published_at: row.try_get("published_at")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// A word that `domain` knows.
fn word<'r, T: Deserialize<'r>>(column: &str, text: &'r str) -> Result<T, sqlx::Error> {
    T::deserialize(text.into_deserializer())
        .map_err(|error: ValueError| sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() })
}
