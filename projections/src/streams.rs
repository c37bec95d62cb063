//! Broadcasts, on now and past: `streams_v1`.

mod apply;

use domain::{
    channels::Visibility,
    ids::{AccountId, ChannelId, NodeId, StreamId},
    streams::{AudioTrack, EncoderName, EndReason, Rendition, RenditionsReason, VideoTrack},
};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error as ValueError},
};
use sqlx::{PgPool, Row, postgres::PgRow, prelude::FromRow, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

pub use apply::StreamsV1;

use crate::{Cursor, Page, QueryError, accounts::suspended_accounts, page::PageQuery};

/// A stream as everybody sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRow {
    /// The stream.
    pub id: StreamId,
    /// Whose broadcast it is.
    pub channel_id: ChannelId,
    /// The channel's handle, as it is now.
    pub channel_handle: String,
    /// The channel's title, as it is now.
    pub channel_title: String,
    /// Who may watch the channel, as it is now.
    pub visibility: Visibility,
    /// The node that takes it in, or took it in.
    pub node_id: NodeId,
    /// Its title.
    pub title: String,
    /// The picture as the encoder sends it, if there is any.
    pub video: Option<VideoTrack>,
    /// The sound as the encoder sends it, if there is any.
    pub audio: Option<AudioTrack>,
    /// What the encoder calls itself, if it said.
    pub encoder: Option<EncoderName>,
    /// The smaller pictures that are made of it, or were when it ended; the highest first.
    pub renditions: Vec<Rendition>,
    /// Why these; `None` where nothing was ever made of it.
    pub renditions_reason: Option<RenditionsReason>,
    /// When it started, which is also when it was created.
    pub started_at: OffsetDateTime,
    /// When it ended; `None` while it is on.
    pub ended_at: Option<OffsetDateTime>,
    /// Why it ended; `None` while it is on.
    pub end_reason: Option<EndReason>,
    /// From start to end, in milliseconds; `None` while it is on.
    pub duration_ms: Option<i64>,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
    /// How many events it has had.
    pub version: i64,
}

impl StreamRow {
    /// Whether it is on now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.ended_at.is_none()
    }
}

/// Which streams; all of them by default, also those that not everybody may know of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamFilter {
    /// Only those that are on, or only those that are over.
    pub live: Option<bool>,
    /// Only this channel's.
    pub channel: Option<ChannelId>,
    /// Only those of this account's channels.
    pub owner: Option<AccountId>,
    /// Only those of channels of this visibility.
    pub visibility: Option<Visibility>,
}

/// Questions about streams; from [`ReadModels::streams`](crate::ReadModels::streams).
#[derive(Debug, Clone, Copy)]
pub struct Streams<'a> {
    pub(crate) pool: &'a PgPool,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "select stream.id, stream.channel_id, channel.handle as channel_handle, channel.title as channel_title, ",
            "channel.visibility as channel_visibility, ",
            "stream.node_id, stream.title, video_codec, video_width, video_height, video_frame_rate, audio_codec, ",
            "audio_sample_rate, audio_channels, encoder, renditions, renditions_reason, started_at, ended_at, end_reason, duration_ms, updated_at, version ",
            // Both tables are this projection's own: a stream is never there before its channel, and goes with it.
            "from read.streams_v1 stream join read.streams_v1_channels channel ",
            "on channel.id = stream.channel_id and not channel.is_closed ",
            $tail
        )
    };
}

/// That its channel's owner is not suspended.
macro_rules! shown {
    () => {
        concat!(
            "stream.channel_id not in (select hidden.id from read.channels_v1 hidden where hidden.owner_id in ",
            suspended_accounts!(),
            ")"
        )
    };
}

impl Streams<'_> {
    /// The stream of this id, if there is one, its channel was not closed, and the channel's owner is not suspended.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_id(&self, id: StreamId) -> Result<Option<StreamRow>, QueryError> {
        let row = sqlx::query_as(concat!(select!("where stream.id = $1 and "), shown!()))
            .bind(id.uuid())
            .fetch_optional(self.pool)
            .await?;
        Ok(row)
    }

    /// Streams of channels that were not closed and whose owners are not suspended, newest first, `limit` at a time (1 to [`MAX_LIMIT`](crate::MAX_LIMIT)), from the beginning or after
    /// where a page ended.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn page(
        &self,
        filter: StreamFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<StreamRow>, QueryError> {
        let mut query = PageQuery::new(select!(""), limit);
        query.condition(shown!());
        if let Some(live) = filter.live {
            query.condition(if live { "stream.ended_at is null" } else { "stream.ended_at is not null" });
        }
        if let Some(channel) = filter.channel {
            query.condition("stream.channel_id = ").push_bind(channel.uuid());
        }
        if let Some(owner) = filter.owner {
            let channels = "stream.channel_id in (select own.id from read.channels_v1 own where own.owner_id = ";
            query.condition(channels).push_bind(owner.uuid()).push(")");
        }
        if let Some(visibility) = filter.visibility {
            query.condition("channel.visibility = ").push_bind(visibility.as_str());
        }
        let page = query.fetch(self.pool, ("stream.started_at", "stream.id"), after, |row: &StreamRow| {
            Cursor::after(row.started_at, row.id.uuid())
        });
        Ok(page.await?)
    }
}

impl FromRow<'_, PgRow> for StreamRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let video = match row.try_get::<Option<String>, _>("video_codec")? {
            None => None,
            Some(codec) => Some(VideoTrack {
                codec,
                width: number(row, "video_width")?,
                height: number(row, "video_height")?,
                frame_rate: row.try_get("video_frame_rate")?,
            }),
        };
        let audio = match row.try_get::<Option<String>, _>("audio_codec")? {
            None => None,
            Some(codec) => Some(AudioTrack {
                codec,
                sample_rate: number(row, "audio_sample_rate")?,
                channels: u8::try_from(row.try_get::<i16, _>("audio_channels")?)
                    .map_err(|error| decode("audio_channels", error))?,
            }),
        };
        let end_reason = row.try_get::<Option<&str>, _>("end_reason")?.map(|text| {
            EndReason::deserialize(text.into_deserializer()).map_err(|error: ValueError| decode("end_reason", error))
        });
        let renditions_reason = row.try_get::<Option<&str>, _>("renditions_reason")?.map(|text| {
            RenditionsReason::deserialize(text.into_deserializer())
                .map_err(|error: ValueError| decode("renditions_reason", error))
        });
        Ok(Self {
            id: row.try_get::<Uuid, _>("id")?.into(),
            channel_id: row.try_get::<Uuid, _>("channel_id")?.into(),
            channel_handle: row.try_get("channel_handle")?,
            channel_title: row.try_get("channel_title")?,
            // What cannot be understood is shown to nobody.
            visibility: Visibility::from_stored(row.try_get("channel_visibility")?).unwrap_or(Visibility::Private),
            node_id: row.try_get::<Uuid, _>("node_id")?.into(),
            title: row.try_get("title")?,
            video,
            audio,
            encoder: row.try_get::<Option<&str>, _>("encoder")?.and_then(EncoderName::from_sent),
            renditions: row.try_get::<Json<Vec<Rendition>>, _>("renditions")?.0,
            renditions_reason: renditions_reason.transpose()?,
            started_at: row.try_get("started_at")?,
            ended_at: row.try_get("ended_at")?,
            end_reason: end_reason.transpose()?,
            duration_ms: row.try_get("duration_ms")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

fn number(row: &PgRow, column: &str) -> Result<u32, sqlx::Error> {
    u32::try_from(row.try_get::<i64, _>(column)?).map_err(|error| decode(column, error))
}

fn decode(column: &str, source: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) }
}
