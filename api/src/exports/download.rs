//! Fetching the file of an export: by a token in the address, so that a browser or curl can, and piece by piece, so that
//! its length does not matter.

use std::{ops::RangeInclusive, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{
    accounts,
    exports::downloads::{self, DownloadRefusal},
};
use domain::{
    exports::{ExportFormat, ExportState},
    ids::{ExportId, SessionId},
};
use openapi::{Problem, events::Event, exports::DownloadQuery};
use projections::exports::ExportRow;
use storage::{Key, StorageError};
use time::{OffsetDateTime, macros::format_description};
use tokio_util::io::ReaderStream;

use crate::{
    authentication::is_open,
    error::{ApiError, ApiResult},
    extract::{Path, Query},
    long_answers::body_while_open,
    server::Server,
};

const PIECE_BYTES: usize = 64 * 1024;

/// Download an export
///
/// Its file, by the address in `download_url`: no header is needed for it. It is good for 15 minutes, and only while the session or
/// the personal token goes on that asked for it; of more than a channel, while whoever has that is an administrator. A part of it may be asked for with `Range`, to go on after a break.
#[utoipa::path(
    get, path = "/api/v1/exports/{id}/download", operation_id = "download_export", tag = "exports",
    params(
        ("id" = String, Path, description = "The export.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d09"),
        DownloadQuery,
        ("Range" = Option<String>, Header, nullable = false, description = "A part of the file: `bytes=<first>-<last>`.", example = "bytes=1048576-"),
    ),
    responses(
        (status = 200, description = "The file.",
            content((Vec<u8> = "application/vnd.apache.parquet"), (String = "text/csv"), (Event = "application/x-ndjson")), headers(
            ("Content-Disposition" = String, description = "With a name for the file."),
            ("Content-Length" = i64, description = "How long it is, in bytes."),
            ("ETag" = String, description = "Of the file, which never changes."))),
        (status = 206, description = "A part of the file.",
            content((Vec<u8> = "application/vnd.apache.parquet"), (String = "text/csv"), (Event = "application/x-ndjson")), headers(
            ("Content-Range" = String, description = "Which part."))),
        (status = 403, description = "`download_refused`: the token is wrong, its time is over, its session has ended, or whoever has that is no administrator any more, and the export is of more than a channel.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such file, or no longer.", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "`range_not_satisfiable`: the file is shorter.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn download_export(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
    Query(query): Query<DownloadQuery>,
    request: HeaderMap,
) -> ApiResult<Response> {
    let id: ExportId = id.parse().map_err(|_| refused(DownloadRefusal::Invalid))?;
    let session_id = downloads::read(&server.commands, id, &query.token, OffsetDateTime::now_utc()).map_err(refused)?;
    if !is_open(&server, session_id).await? {
        return Err(refused(DownloadRefusal::Expired));
    }
    let row = server.read.exports().by_id(id).await?;
    let row = row.filter(|row| row.state == ExportState::Completed).ok_or_else(gone)?;
    if row.filter.channel_id.is_none() && !is_administrators(&server, session_id).await? {
        return Err(administrators_only());
    }
    let key = Key::new(format!("exports/{id}")).map_err(ApiError::internal)?;
    let info = server.storage.stat(&key).await.map_err(not_read)?.ok_or_else(|| lost(id))?;

    let tag = HeaderValue::try_from(format!("\"{id}\"")).map_err(ApiError::internal)?;
    let part = asked_for(&request, &tag, info.size_bytes)?;
    let (start, length) = match &part {
        Some(range) => (*range.start(), range.end() - range.start() + 1),
        None => (0, info.size_bytes),
    };
    let content = server.storage.read(&key, start, length).await.map_err(not_read)?.ok_or_else(|| lost(id))?;
    let content = ReaderStream::with_capacity(content, PIECE_BYTES);
    let mut response = body_while_open(&server, session_id, content).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(row.format)));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_DISPOSITION, disposition(&row)?);
    headers.insert(header::ETAG, tag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store, no-transform"));
    if let Some(range) = part {
        let range = format!("bytes {}-{}/{}", range.start(), range.end(), info.size_bytes);
        headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(range).map_err(ApiError::internal)?);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The part of a file of `size_bytes` that is asked for; `None` for all of it, and for what is not understood (RFC 9110,
/// section 14.2).
fn asked_for(request: &HeaderMap, tag: &HeaderValue, size_bytes: u64) -> ApiResult<Option<RangeInclusive<u64>>> {
    if request.get(header::IF_RANGE).is_some_and(|condition| condition != tag) {
        return Ok(None);
    }
    let text = request.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some((first, last)) = text.and_then(|text| text.strip_prefix("bytes=")?.split_once('-')) else {
        return Ok(None);
    };
    let range = match (first.trim(), last.trim()) {
        ("", last) => last.parse().ok().map(|length: u64| (size_bytes.saturating_sub(length), u64::MAX, length > 0)),
        (first, "") => first.parse().ok().map(|first: u64| (first, u64::MAX, true)),
        (first, last) => match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => Some((first, last, true)),
            // Several parts, too.
            _ => None,
        },
    };
    match range {
        None => Ok(None),
        Some((first, last, true)) if first < size_bytes => Ok(Some(first..=last.min(size_bytes - 1))),
        Some(_) => {
            Err(ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", "The file is shorter")
                .detail(format!("The file has {size_bytes} bytes. Ask for a part of it, or leave `Range` out."))
                .header(
                    header::CONTENT_RANGE,
                    HeaderValue::try_from(format!("bytes */{size_bytes}")).map_err(ApiError::internal)?,
                ))
        }
    }
}

fn media_type(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Parquet => "application/vnd.apache.parquet",
        ExportFormat::Csv => "text/csv; charset=utf-8",
        ExportFormat::Ndjson => "application/x-ndjson",
    }
}

fn disposition(row: &ExportRow) -> ApiResult<HeaderValue> {
    let at = format_description!("[year]-[month]-[day]T[hour][minute][second]Z");
    let at = row.created_at.format(at).map_err(ApiError::internal)?;
    let name = format!("attachment; filename=\"weir-events-{at}.{}\"", row.format.as_str());
    HeaderValue::try_from(name).map_err(ApiError::internal)
}

fn refused(refusal: DownloadRefusal) -> ApiError {
    let detail = match refusal {
        DownloadRefusal::Invalid => {
            "The token does not belong to this export. Take `download_url` as the export gives it."
        }
        DownloadRefusal::Expired => {
            "The address was good for 15 minutes, while you were signed in. Look at the export again for a new `download_url`."
        }
    };
    ApiError::new(StatusCode::FORBIDDEN, "download_refused", "This address does not open the file").detail(detail)
}

/// Whether a session, or a personal token in its place, is an administrator's now.
async fn is_administrators(server: &Server, session_id: SessionId) -> ApiResult<bool> {
    match accounts::holder(&server.commands, session_id).await.map_err(ApiError::unavailable)? {
        Some(holder) => Ok(accounts::is_administrator(&server.commands, holder).await?),
        None => Ok(false),
    }
}

fn administrators_only() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "download_refused", "This address does not open the file")
        .detail("Events of more than a channel are for administrators, and this account is none any more.")
}

fn gone() -> ApiError {
    ApiError::not_found("There is no file of this export, or no longer. Ask for a new export.")
}

/// It should be there.
fn lost(id: ExportId) -> ApiError {
    tracing::warn!(export.id = %id, "the file of an export is not in this node's storage; do the nodes share its folder?");
    gone()
}

fn not_read(error: StorageError) -> ApiError {
    ApiError::internal(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_understood_or_passed_over() {
        let tag = HeaderValue::from_static("\"tag\"");
        let part = |range: &str, size| {
            let mut request = HeaderMap::new();
            request.insert(header::RANGE, range.parse().unwrap());
            asked_for(&request, &tag, size).map_err(|error| error.into_problem().status)
        };
        assert_eq!(asked_for(&HeaderMap::new(), &tag, 10).unwrap(), None);
        for (range, expected) in [
            ("bytes=0-3", Ok(Some(0..=3))),
            ("bytes=4-", Ok(Some(4..=9))),
            ("bytes=8-99", Ok(Some(8..=9))),
            ("bytes=-3", Ok(Some(7..=9))),
            ("bytes=-99", Ok(Some(0..=9))),
            ("bytes=10-", Err(416)),
            ("bytes=-0", Err(416)),
            ("bytes=5-4", Ok(None)),
            ("bytes=0-1,3-4", Ok(None)),
            ("bytes=x-y", Ok(None)),
            ("lines=1-2", Ok(None)),
        ] {
            assert_eq!(part(range, 10), expected, "{range}");
        }
        assert_eq!(part("bytes=0-", 0), Err(416));
    }

    #[test]
    fn a_part_of_another_file_is_all_of_it() {
        let mut request = HeaderMap::new();
        request.insert(header::RANGE, HeaderValue::from_static("bytes=1-"));
        request.insert(header::IF_RANGE, HeaderValue::from_static("\"other\""));
        assert_eq!(asked_for(&request, &HeaderValue::from_static("\"tag\""), 10).unwrap(), None);
    }
}
