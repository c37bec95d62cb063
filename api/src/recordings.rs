//! Recordings: listing, looking, editing, deleting, downloading, and whether a channel records.
//!
//! Who may watch a recording is decided by its channel's rights ([`crate::channels`]) and by its own visibility; who owns the
//! channel sees and changes everything. Addresses that not everybody may use have a token in their path ([`asker`]).

mod asker;

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{
    CommandError,
    recordings::{self, EditRecording, RecordingsError},
};
use domain::{
    channels::{ChannelAct, ChannelRefusal},
    ids::RecordingId,
    recordings as facts,
    recordings::{RecordingPolicy, RecordingRefusal, RecordingState},
};
use openapi::{
    FieldError, Problem,
    operation::Accepted,
    recordings::{
        ChangeRecordingSettingsRequest, EditRecordingRequest, RecordedRendition, Recording, RecordingCutShort,
        RecordingFailure, RecordingLimits, RecordingPage, RecordingSettings, RecordingStatus, RecordingUsage,
        RecordingVisibility, RecordingsQuery,
    },
    streams::{Playback, StreamChannel},
};
use projections::{
    Projection,
    recordings::{RecordingRow, RecordingsV1},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::asker::Asker;
use crate::{
    authentication::Authenticated,
    channels::{Rights, allowed_by_handle, authorise, by_handle, no_channel, not_allowed},
    conditional,
    error::{ApiError, ApiResult},
    extract::{IfMatch, Json, Path, Query},
    operation::{accepted, cursor, page},
    server::Server,
};

/// What a recording is shown from.
const SHOWN_FROM: &[&dyn Projection] = &[&RecordingsV1];

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(list_recordings))
        .routes(routes!(get_recording, edit_recording, delete_recording))
        .routes(routes!(download_recording))
        .routes(routes!(get_recording_settings, change_recording_settings))
}

/// List recordings
///
/// Of one channel, newest first: those that everybody finds. Its owner, its editors and administrators see
/// all, also those that are being made or have failed.
#[utoipa::path(
    get, path = "/api/v1/channels/{handle}/recordings", operation_id = "list_recordings", tag = "recordings",
    params(
        RecordingsQuery,
        ("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed."),
    ),
    security((), ("access_token" = [])),
    responses(
        (status = 200, description = "Some recordings.", body = RecordingPage, headers(
            ("ETag" = String, description = "Of the body."),
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
        (status = 304, description = "Nothing has changed."),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_recordings(
    State(server): State<Arc<Server>>,
    authenticated: Option<Authenticated>,
    Path(handle): Path<String>,
    Query(query): Query<RecordingsQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let after = cursor(query.after.as_deref())?;
    let by = authenticated.as_ref();
    let channel = by_handle(&server, by, &handle).await?;
    let asker = Asker::look(&server, by, Rights { channel_id: channel.id, visibility: channel.visibility }).await?;
    if !asker.may_watch {
        // Since the channel was found.
        return Err(no_channel());
    }
    let recordings = server.read.recordings();
    let found = recordings.of_channel(channel.id, asker.is_keeper, after.as_ref(), query.limit.get().into()).await?;
    let path = format!("/api/v1/channels/{}/recordings", channel.handle);
    let query = [("limit", query.limit.get().to_string())];
    let mut response = page(&path, &query, found, &headers, |row| recording(&server, row, &asker))?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// Get a recording
///
/// Whoever may watch it; one that is archived its channel's owner and editors, and administrators, and likewise one that is not
/// ready.
#[utoipa::path(
    get, path = "/api/v1/recordings/{id}", operation_id = "get_recording", tag = "recordings",
    params(
        ("id" = String, Path, description = "The recording.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d05"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed."),
    ),
    security((), ("access_token" = [])),
    responses(
        (status = 200, description = "The recording.", body = Recording, headers(("ETag" = String, description = "Of the body."))),
        (status = 304, description = "Nothing has changed."),
        (status = 404, description = "`not_found`: there is no such recording, or it is not for you.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_recording(
    State(server): State<Arc<Server>>,
    authenticated: Option<Authenticated>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let (row, asker) = visible(&server, authenticated.as_ref(), &id).await?;
    let mut response = conditional::json(&headers, &recording(&server, row, &asker))?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// Edit a recording
///
/// The channel's owner and editors may. With `If-Match` the edit is refused when somebody else has changed the recording in between.
#[utoipa::path(
    patch, path = "/api/v1/recordings/{id}", operation_id = "edit_recording", tag = "recordings",
    params(
        ("id" = String, Path, description = "The recording.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d05"),
        ("If-Match" = Option<String>, Header, nullable = false, pattern = r#"^(\*|"[0-9]{1,18}")$"#, description = "The `version` that the edit was made from, in quotes.", example = "\"2\""),
    ),
    request_body = EditRecordingRequest, security(("access_token" = [])),
    responses(
        (status = 200, description = "The recording as it is now.", body = Recording),
        (status = 202, description = "Changed, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the recording is."))),
        (status = 403, description = "`forbidden`: somebody else owns it.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such recording, or it is not for you.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "`version_stale`: it was changed in between.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn edit_recording(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
    IfMatch(expected_version): IfMatch,
    Json(request): Json<EditRecordingRequest>,
) -> ApiResult<Response> {
    let (row, asker) = allowed(&server, &authenticated, &id, ChannelAct::EditRecordings).await?;
    let EditRecordingRequest { title, visibility, is_download_allowed } = request;
    let edit = EditRecording {
        recording_id: row.id,
        expected_version,
        title,
        visibility: visibility.map(visibility_of),
        is_download_allowed,
        metadata: authenticated.metadata(),
    };
    let position = recordings::edit(&server.commands, edit).await.map_err(|error| match error {
        RecordingsError::Invalid(invalid) => ApiError::validation_failed(invalid),
        RecordingsError::Command(error) => refused(error),
    })?;
    // It is done: a read that fails is one that has to wait.
    if server.has_read(SHOWN_FROM, position).await
        && let Ok(Some(row)) = server.read.recordings().by_id(row.id).await
    {
        return Ok(JsonBody(recording(&server, row, &asker)).into_response());
    }
    Ok(accepted(position, format!("/api/v1/recordings/{}", row.id)))
}

/// Delete a recording
///
/// The channel's owner may, once it is ready or has failed. It is gone at once, and its files soon after.
#[utoipa::path(
    delete, path = "/api/v1/recordings/{id}", operation_id = "delete_recording", tag = "recordings",
    params(("id" = String, Path, description = "The recording.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d05")),
    security(("access_token" = [])),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 403, description = "`forbidden`: somebody else owns it.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such recording, or it is not for you.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`recording_not_ready`: its stream is on; `conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn delete_recording(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    let (row, _) = allowed(&server, &authenticated, &id, ChannelAct::DeleteRecordings).await?;
    let (by, reason) = (Some(authenticated.account_id), facts::RecordingDeletedReason::Owner);
    match recordings::delete(&server.commands, row.id, by, reason, authenticated.metadata()).await {
        Ok(position) => {
            server.has_read(SHOWN_FROM, position).await;
            Ok(StatusCode::NO_CONTENT)
        }
        // The same again.
        Err(CommandError::Refused(RecordingRefusal::Deleted)) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(refused(error)),
    }
}

/// Download a recording
///
/// Leads to the file: one MP4 with the picture and sound of the stream as they were, of which any part can be asked for. Where
/// the stream changed its picture or sound in between there are several (the address answers 409): `downloads.json` beside it
/// names them in order, with `name`, `starts_at_ms`, `duration_ms` and `size_bytes`, and they are beside it, too. The
/// channel's owner and editors may, and administrators, and whoever may watch it where that is allowed. A browser that cannot send an access token
/// takes `download_url` instead.
#[utoipa::path(
    get, path = "/api/v1/recordings/{id}/download", operation_id = "download_recording", tag = "recordings",
    params(("id" = String, Path, description = "The recording.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d05")),
    security((), ("access_token" = [])),
    responses(
        (status = 302, description = "Where the file is, for some hours.", headers(("Location" = String, description = "The file."))),
        (status = 403, description = "`forbidden`: the owner does not allow downloads.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such recording, or it is not for you.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`recording_not_ready`: there is no file yet, or none at all.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn download_recording(
    State(server): State<Arc<Server>>,
    authenticated: Option<Authenticated>,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    let (row, asker) = visible(&server, authenticated.as_ref(), &id).await?;
    if row.state != RecordingState::Published {
        return Err(not_ready());
    }
    let address = asker
        .download_url(&server, &row)
        .ok_or_else(|| ApiError::forbidden("Only the channel's owner and editors may download this recording."))?;
    let headers = [(header::LOCATION, address), (header::CACHE_CONTROL, "no-store".to_owned())];
    Ok((StatusCode::FOUND, headers).into_response())
}

/// Get what a channel says of recordings
///
/// Its owner, its editors and administrators may.
#[utoipa::path(
    get, path = "/api/v1/channels/{handle}/recording-settings", operation_id = "get_recording_settings", tag = "recordings",
    params(("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks")),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "Whether streams are recorded, and how much is kept.", body = RecordingSettings),
        (status = 403, description = "`forbidden`: somebody else owns it.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_recording_settings(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(handle): Path<String>,
) -> ApiResult<JsonBody<RecordingSettings>> {
    let channel = allowed_by_handle(&server, &authenticated, &handle, ChannelAct::SeeRecordings).await?;
    let policy = server.read.recordings().policy(channel.id).await?.unwrap_or_default();
    settings(&server, channel.id, policy).await.map(JsonBody)
}

/// Say whether a channel's streams are recorded
///
/// Its owner may, and its editors without new limits. It holds for streams that start from then on; limits that are lower than before are kept to at once.
#[utoipa::path(
    put, path = "/api/v1/channels/{handle}/recording-settings", operation_id = "change_recording_settings", tag = "recordings",
    params(("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks")),
    request_body = ChangeRecordingSettingsRequest, security(("access_token" = [])),
    responses(
        (status = 200, description = "What holds now.", body = RecordingSettings),
        (status = 403, description = "`forbidden`: somebody else owns it.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn change_recording_settings(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(handle): Path<String>,
    Json(request): Json<ChangeRecordingSettingsRequest>,
) -> ApiResult<JsonBody<RecordingSettings>> {
    // Whether limits change is for the channel itself to see.
    let channel = allowed_by_handle(&server, &authenticated, &handle, ChannelAct::SwitchRecording).await?;
    let ChangeRecordingSettingsRequest { is_on, keep_days, max_size_bytes, max_count } = request;
    let numbers = [
        ("/keep_days", keep_days.map(i64::from), 36_500),
        ("/max_size_bytes", max_size_bytes, i64::MAX),
        ("/max_count", max_count.map(i64::from), i64::MAX),
    ];
    for (pointer, number, most) in numbers {
        if number.is_some_and(|number| !(1..=most).contains(&number)) {
            let message = if most == i64::MAX {
                "Use a number from 1 on, or leave it out for the server's limit.".into()
            } else {
                format!("Use a number from 1 to {most}, or leave it out for the server's limit.").into()
            };
            return Err(ApiError::wrong_field(FieldError { pointer: pointer.into(), code: "range".into(), message }));
        }
    }
    let policy = RecordingPolicy { is_on, keep_days, max_size_bytes, max_count };
    let by = authenticated.account_id;
    let changed = recordings::change_policy(&server.commands, channel.id, by, policy, authenticated.metadata()).await;
    let position = changed.map_err(|error| {
        ApiError::command(error, |refusal| match refusal {
            ChannelRefusal::NotAllowed => not_allowed(),
            _ => ApiError::not_found("There is no such channel."),
        })
    })?;
    server.has_read(SHOWN_FROM, position).await;
    // As it was said: it may not be read yet.
    settings(&server, channel.id, policy).await.map(JsonBody).map_err(ApiError::half_done)
}

async fn settings(
    server: &Server,
    channel_id: domain::ids::ChannelId,
    policy: RecordingPolicy,
) -> ApiResult<RecordingSettings> {
    let usage = server.read.recordings().usage(channel_id).await?;
    let limits = server.recording_limits;
    Ok(RecordingSettings {
        is_on: policy.is_on,
        own_limits: RecordingLimits {
            keep_days: policy.keep_days,
            max_size_bytes: policy.max_size_bytes,
            max_count: policy.max_count,
        },
        server_limits: RecordingLimits {
            keep_days: limits.keep_days,
            max_size_bytes: limits.max_size_bytes,
            max_count: limits.max_count,
        },
        usage: RecordingUsage { count: usage.count, size_bytes: usage.size_bytes },
    })
}

/// The recording of this id for somebody who may see it, and what they are to its channel.
async fn visible<'a>(server: &Server, by: Option<&'a Authenticated>, id: &str) -> ApiResult<(RecordingRow, Asker<'a>)> {
    let unknown = || ApiError::not_found("There is no recording with this id, or it is not for you.");
    let id: RecordingId = id.parse().map_err(|_| unknown())?;
    let row = server.read.recordings().by_id(id).await?.ok_or_else(unknown)?;
    let rights = Rights { channel_id: row.channel_id, visibility: row.channel_visibility };
    let asker = Asker::look(server, by, rights).await?;
    let is_shown = row.state == RecordingState::Published && row.visibility != facts::RecordingVisibility::Archived;
    if asker.is_keeper || (is_shown && asker.may_watch) { Ok((row, asker)) } else { Err(unknown()) }
}

/// The recording of this id for somebody who may do this to it.
async fn allowed<'a>(
    server: &Server,
    by: &'a Authenticated,
    id: &str,
    act: ChannelAct,
) -> ApiResult<(RecordingRow, Asker<'a>)> {
    let (row, asker) = visible(server, Some(by), id).await?;
    authorise(server, by, row.channel_id, act).await?;
    Ok((row, asker))
}

fn not_ready() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "recording_not_ready", "The recording is not ready")
        .detail("Its stream is on, or nothing of it could be kept. Look at `status`, and try again when it is `ready`.")
}

fn refused(error: CommandError<RecordingRefusal>) -> ApiError {
    ApiError::command(error, |refusal| match refusal {
        RecordingRefusal::Unknown | RecordingRefusal::Deleted => {
            ApiError::not_found("There is no such recording, or no longer.")
        }
        RecordingRefusal::NotFinished => not_ready(),
        RecordingRefusal::VersionStale { current } => {
            ApiError::new(StatusCode::PRECONDITION_FAILED, "version_stale", "The recording was changed in between")
                .detail(format!("The recording is at version {current}. Look at how it is now and edit that."))
        }
        RecordingRefusal::StreamRecorded | RecordingRefusal::AlreadyExists | RecordingRefusal::AlreadyFinished => {
            ApiError::internal("a recording was begun or finished by its owner")
        }
    })
}

fn recording(server: &Server, row: RecordingRow, asker: &Asker<'_>) -> Recording {
    let folder = asker.folder(server, &row);
    let of = |name: &str| folder.as_ref().map(|folder| format!("{folder}/{name}"));
    Recording {
        id: row.id.uuid(),
        stream_id: row.stream_id.uuid(),
        playback: of("index.m3u8").map(|hls_url| Playback { hls_url, dash_url: None }),
        thumbnail_url: of("thumbnail.jpg"),
        seek_thumbnails_url: of("sheets/index.vtt"),
        download_url: asker.download_url(server, &row),
        channel: StreamChannel { id: row.channel_id.uuid(), handle: row.channel_handle, title: row.channel_title },
        title: row.title,
        status: match row.state {
            RecordingState::Recording => RecordingStatus::Recording,
            RecordingState::Published => RecordingStatus::Ready,
            // A deleted one is not found.
            RecordingState::Failed | RecordingState::Deleted => RecordingStatus::Failed,
        },
        visibility: visibility(row.visibility),
        is_download_allowed: row.is_download_allowed,
        duration_ms: row.duration_ms,
        size_bytes: row.size_bytes,
        renditions: row.renditions.into_iter().map(rendition).collect(),
        gap_count: row.gap_count,
        cut_short: row.cut_short.map(|cut_short| match cut_short {
            facts::CutShort::StorageFull => RecordingCutShort::StorageFull,
            facts::CutShort::StorageUnavailable => RecordingCutShort::StorageUnavailable,
            facts::CutShort::Crashed => RecordingCutShort::Crashed,
            facts::CutShort::Quota => RecordingCutShort::Quota,
        }),
        failure: row.failure.map(|failure| match failure {
            facts::RecordingFailure::Empty => RecordingFailure::Empty,
            facts::RecordingFailure::StorageFull => RecordingFailure::StorageFull,
            facts::RecordingFailure::StorageUnavailable => RecordingFailure::StorageUnavailable,
            facts::RecordingFailure::NodeLost => RecordingFailure::NodeLost,
        }),
        started_at: row.started_at,
        published_at: row.published_at,
        updated_at: row.updated_at,
        version: row.version,
    }
}

fn rendition(rendition: facts::RecordedRendition) -> RecordedRendition {
    let facts::RecordedRendition { name, width, height, codecs, bitrate_bps } = rendition;
    RecordedRendition { name, width, height, codecs, bitrate_bps }
}

fn visibility(visibility: facts::RecordingVisibility) -> RecordingVisibility {
    match visibility {
        facts::RecordingVisibility::Published => RecordingVisibility::Published,
        facts::RecordingVisibility::Unlisted => RecordingVisibility::Unlisted,
        facts::RecordingVisibility::Archived => RecordingVisibility::Archived,
    }
}

fn visibility_of(visibility: RecordingVisibility) -> facts::RecordingVisibility {
    match visibility {
        RecordingVisibility::Published => facts::RecordingVisibility::Published,
        RecordingVisibility::Unlisted => facts::RecordingVisibility::Unlisted,
        RecordingVisibility::Archived => facts::RecordingVisibility::Archived,
    }
}
