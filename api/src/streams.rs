//! Streams: broadcasts of channels, running and past.

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::{extract::State, http::HeaderMap, response::Response};
use domain::{
    channels::{Handle, Visibility},
    ids::StreamId,
    streams,
};
use openapi::{
    Problem,
    streams::{
        AudioFormat, EndReason, Playback, Rendition, RenditionsReason, Stream, StreamChannel, StreamPage, StreamsQuery,
        VideoFormat,
    },
};
use projections::streams::{StreamFilter, StreamRow};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    authentication::Authenticated,
    channels::{Rights, may_watch, playback_token},
    conditional,
    error::{ApiError, ApiResult},
    extract::{Path, Query},
    operation::{cursor, page},
    server::Server,
};

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(list_streams)).routes(routes!(get_stream))
}

/// List streams
///
/// Newest first: those of public channels, or with `channel` those of a channel that you may watch.
#[utoipa::path(
    get, path = "/api/v1/streams", operation_id = "list_streams", tag = "streams",
    params(StreamsQuery, ("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed.")),
    security((), ("access_token" = [])),
    responses(
        (status = 200, description = "Some streams.", body = StreamPage, headers(
            ("ETag" = String, description = "Of the body."),
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
        (status = 304, description = "Nothing has changed."),
    ),
)]
async fn list_streams(
    State(server): State<Arc<Server>>,
    authenticated: Option<Authenticated>,
    Query(query): Query<StreamsQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let after = cursor(query.after.as_deref())?;
    let mut filter =
        StreamFilter { live: query.live, channel: None, owner: None, visibility: Some(Visibility::Public) };
    let (by, mut token) = (authenticated.as_ref(), None);
    if let Some(handle) = &query.channel {
        let handle = Handle::parse(handle)
            .map_err(|invalid| ApiError::query_invalid("channel", invalid.code, invalid.message))?;
        let nothing = || conditional::json(&headers, &StreamPage { items: Vec::new(), next_cursor: None });
        let Some(channel) = server.read.channels().by_handle(handle.as_str()).await? else { return nothing() };
        let rights = Rights { channel_id: channel.id, visibility: channel.visibility };
        if !may_watch(&server, by, rights).await? {
            return nothing();
        }
        filter.channel = Some(channel.id);
        if channel.visibility.needs_token() {
            filter.visibility = None;
            token = playback_token(&server, channel.id, channel.visibility, channel.version, by);
        }
    }
    let found = server.read.streams().page(filter, after.as_ref(), query.limit.get().into()).await?;
    let token = token.as_ref().map(|token| token.text.as_str());
    let render = |row| stream(&server, row, token);
    let mut response = page("/api/v1/streams", &query_text(&query), found, &headers, render)?;
    if token.is_some() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    Ok(response)
}

fn query_text(query: &StreamsQuery) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("limit", query.limit.get().to_string())];
    pairs.extend(query.live.map(|live| ("live", live.to_string())));
    pairs.extend(query.channel.clone().map(|channel| ("channel", channel)));
    pairs
}

/// Get a stream
#[utoipa::path(
    get, path = "/api/v1/streams/{id}", operation_id = "get_stream", tag = "streams",
    params(
        ("id" = String, Path, description = "The stream.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d02"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed."),
    ),
    security((), ("access_token" = [])),
    responses(
        (status = 200, description = "The stream.", body = Stream, headers(("ETag" = String, description = "Of the body."))),
        (status = 304, description = "Nothing has changed."),
        (status = 404, description = "`not_found`: there is no such stream.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_stream(
    State(server): State<Arc<Server>>,
    authenticated: Option<Authenticated>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let unknown = || ApiError::not_found("There is no stream with this id.");
    let id: StreamId = id.parse().map_err(|_| unknown())?;
    let row = server.read.streams().by_id(id).await?.ok_or_else(unknown)?;
    if !row.visibility.needs_token() {
        return conditional::json(&headers, &stream(&server, row, None));
    }
    let by = authenticated.as_ref();
    let channel = server.read.channels().by_id(row.channel_id).await?.ok_or_else(unknown)?;
    let rights = Rights { channel_id: channel.id, visibility: channel.visibility };
    if !may_watch(&server, by, rights).await? {
        return Err(unknown());
    }
    let token = playback_token(&server, channel.id, channel.visibility, channel.version, by);
    let token = token.as_ref().map(|token| token.text.as_str());
    let mut response = conditional::json(&headers, &stream(&server, row, token))?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// With the token that its channel needs, if it needs one.
pub(crate) fn stream(server: &Server, row: StreamRow, token: Option<&str>) -> Stream {
    Stream {
        id: row.id.uuid(),
        channel: StreamChannel { id: row.channel_id.uuid(), handle: row.channel_handle, title: row.channel_title },
        title: row.title,
        is_live: row.ended_at.is_none(),
        started_at: row.started_at,
        ended_at: row.ended_at,
        end_reason: row.end_reason.map(end_reason),
        duration_ms: row.duration_ms,
        video: row.video.map(video),
        audio: row.audio.map(audio),
        encoder: row.encoder.map(|encoder| encoder.as_str().to_owned()),
        renditions: row.renditions.into_iter().map(rendition).collect(),
        renditions_reason: row.renditions_reason.map(renditions_reason),
        playback: Playback {
            hls_url: server.addresses.stream_hls(row.id, token),
            dash_url: Some(server.addresses.stream_dash(row.id, token)),
        },
        thumbnail_url: Some(server.addresses.thumbnail(row.id, token)),
        created_at: row.started_at,
        updated_at: row.updated_at,
    }
}

pub(crate) fn video(track: streams::VideoTrack) -> VideoFormat {
    let streams::VideoTrack { codec, width, height, frame_rate } = track;
    VideoFormat { codec, width, height, frame_rate }
}

pub(crate) fn audio(track: streams::AudioTrack) -> AudioFormat {
    let streams::AudioTrack { codec, sample_rate, channels } = track;
    AudioFormat { codec, sample_rate, channels }
}

pub(crate) fn rendition(rendition: streams::Rendition) -> Rendition {
    let streams::Rendition { name, width, height, bitrate_kbps } = rendition;
    Rendition { name, width, height, bitrate_kbps }
}

pub(crate) fn renditions_reason(reason: streams::RenditionsReason) -> RenditionsReason {
    match reason {
        streams::RenditionsReason::Started => RenditionsReason::Started,
        streams::RenditionsReason::TooSlow => RenditionsReason::TooSlow,
        streams::RenditionsReason::NoBudget => RenditionsReason::NoBudget,
        streams::RenditionsReason::BudgetFreed => RenditionsReason::BudgetFreed,
        streams::RenditionsReason::FfmpegFailed => RenditionsReason::FfmpegFailed,
        streams::RenditionsReason::FfmpegMissing => RenditionsReason::FfmpegMissing,
        streams::RenditionsReason::Recovered => RenditionsReason::Recovered,
        streams::RenditionsReason::SourceChanged => RenditionsReason::SourceChanged,
    }
}

fn end_reason(reason: streams::EndReason) -> EndReason {
    match reason {
        streams::EndReason::Unpublished => EndReason::Unpublished,
        streams::EndReason::ConnectionLost => EndReason::ConnectionLost,
        streams::EndReason::Shutdown => EndReason::Shutdown,
        streams::EndReason::Crashed => EndReason::Crashed,
        streams::EndReason::Moved => EndReason::Moved,
        streams::EndReason::KeyRotated => EndReason::KeyRotated,
        streams::EndReason::ChannelClosed => EndReason::ChannelClosed,
        streams::EndReason::AccountSuspended => EndReason::AccountSuspended,
        streams::EndReason::TakenDown => EndReason::TakenDown,
        streams::EndReason::Error => EndReason::Error,
    }
}
