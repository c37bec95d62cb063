//! What people can ask for of what is kept of them: a copy, and to be forgotten.
//!
//! The copy is made by the processes. Its file is fetched by an address that nobody can make up, that is good for five minutes,
//! and ends with the session to which it was given: to whoever shows again who they are.

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{
    accounts::personal_exports::{self as exports, jobs, tokens},
    exports::downloads::DownloadRefusal,
};
use domain::{
    accounts::{Account, NewestPersonalExport, PERSONAL_EXPORT_EVERY, PersonalExportFailure, PersonalExportRefusal},
    exports::ExportState,
};
use openapi::{
    Problem,
    accounts::{
        ReauthenticationRequest,
        privacy::{
            Erasure, PersonalExport, PersonalExportDownload, PersonalExportError, PersonalExportQuery,
            PersonalExportStatus,
        },
    },
};
use storage::Key;
use time::{Duration, OffsetDateTime, macros::format_description};
use tokio_util::io::ReaderStream;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::reauthentication;
use crate::{
    authentication::{Authenticated, is_open},
    error::{ApiError, ApiResult},
    extract::{Json, Query},
    long_answers::body_while_open,
    server::Server,
};

/// How long an address to download from is good.
const DOWNLOAD_FOR: Duration = Duration::minutes(5);
const PIECE_BYTES: usize = 64 * 1024;
const PATH: &str = "/api/v1/me/export";

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(get_personal_export, request_personal_export))
        .routes(routes!(download_personal_export, locate_personal_export))
        .routes(routes!(get_erasure))
}

/// Ask for everything that is kept of me
///
/// Has a zip of JSON files made in the background: look at `GET /api/v1/me/export` until `status` is `ready`, and have
/// `POST /api/v1/me/export/download` say where it is. The file is kept for seven days. One at a time, and one an hour; an earlier file goes. That it was asked
/// for is itself an event.
#[utoipa::path(
    post, path = "/api/v1/me/export", operation_id = "request_personal_export", tag = "accounts",
    request_body = ReauthenticationRequest, security(("access_token" = [])),
    responses(
        (status = 201, description = "It waits for its turn.", body = PersonalExport, headers(("Location" = String, description = "Where the export is."))),
        (status = 403, description = "`password_wrong`: the password is wrong; `second_factor_required`, `code_wrong`: the code of the second factor is missing or wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`export_under_way`: one is being made.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`export_too_soon`: one was made less than an hour ago; `too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn request_personal_export(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<ReauthenticationRequest>,
) -> ApiResult<Response> {
    reauthentication::check(&server, &authenticated, request.password, request.code.as_deref()).await?;
    let account_id = authenticated.account_id;
    exports::request(&server.commands, account_id, authenticated.metadata()).await.map_err(|error| {
        ApiError::command(error, |refusal| match refusal {
            PersonalExportRefusal::UnderWay => {
                ApiError::new(StatusCode::CONFLICT, "export_under_way", "An export is being made")
                    .detail("Your data is being put together already. Wait until it is ready.")
            }
            PersonalExportRefusal::TooSoon { again_at } => too_soon(again_at),
            PersonalExportRefusal::Unknown => ApiError::unauthenticated("The account no longer exists."),
        })
    })?;
    let export = newest(&server, &authenticated).await.map_err(ApiError::half_done)?;
    let export = export.ok_or_else(|| ApiError::internal("an export that was just asked for is not in the log"))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, PATH)], JsonBody(export)).into_response())
}

/// Get my personal export
///
/// The one that was asked for last. Ask every second or two while it is `waiting` or `running`.
#[utoipa::path(
    get, path = "/api/v1/me/export", operation_id = "get_personal_export", tag = "accounts",
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The export.", body = PersonalExport),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: this account has asked for none.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_personal_export(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
) -> ApiResult<JsonBody<PersonalExport>> {
    let export = newest(&server, &authenticated).await?;
    export.map(JsonBody).ok_or_else(|| ApiError::not_found("You have not asked for your data yet."))
}

/// Ask where my personal export is
///
/// The address to download the finished file from, made anew each time. A session alone, which somebody may have stolen, does
/// not get it.
#[utoipa::path(
    post, path = "/api/v1/me/export/download", operation_id = "locate_personal_export", tag = "accounts",
    request_body = ReauthenticationRequest, security(("access_token" = [])),
    responses(
        (status = 200, description = "Where it is.", body = PersonalExportDownload),
        (status = 403, description = "`password_wrong`: the password is wrong; `second_factor_required`, `code_wrong`: the code of the second factor is missing or wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: no file is ready.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn locate_personal_export(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<ReauthenticationRequest>,
) -> ApiResult<JsonBody<PersonalExportDownload>> {
    reauthentication::check(&server, &authenticated, request.password, request.code.as_deref()).await?;
    let newest = exports::newest(&server.commands, authenticated.account_id).await?;
    let ready = newest.filter(|newest| newest.state == ExportState::Completed);
    let ready =
        ready.ok_or_else(|| ApiError::not_found("There is no file yet, or none any more. Ask for your data."))?;
    let expires_at = OffsetDateTime::now_utc() + DOWNLOAD_FOR;
    let token = tokens::token(&server.commands, ready.export_id, authenticated.session_id, expires_at);
    Ok(JsonBody(PersonalExportDownload { download_url: format!("{PATH}/download?token={token}") }))
}

/// Download my personal export
///
/// The file, by the address in `download_url`: it is good for five minutes, and only while the session goes on that asked
/// for it.
#[utoipa::path(
    get, path = "/api/v1/me/export/download", operation_id = "download_personal_export", tag = "accounts",
    params(PersonalExportQuery),
    responses(
        (status = 200, description = "The file.", content((Vec<u8> = "application/zip")), headers(
            ("Content-Disposition" = String, description = "With a name for the file."))),
        (status = 403, description = "`download_refused`: the token is wrong, its time is over, or its session has ended.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such file any more.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn download_personal_export(
    State(server): State<Arc<Server>>,
    Query(query): Query<PersonalExportQuery>,
) -> ApiResult<Response> {
    let now = OffsetDateTime::now_utc();
    let (export_id, session_id) = tokens::read(&server.commands, &query.token, now).map_err(refused)?;
    if !is_open(&server, session_id).await? {
        return Err(refused(DownloadRefusal::Expired));
    }
    let key = Key::new(format!("personal-exports/{export_id}")).map_err(ApiError::internal)?;
    let info = server.storage.stat(&key).await.map_err(ApiError::internal)?.ok_or_else(gone)?;
    let content = server.storage.read(&key, 0, info.size_bytes).await.map_err(ApiError::internal)?.ok_or_else(gone)?;
    let day = now.format(format_description!("[year]-[month]-[day]")).map_err(ApiError::internal)?;
    let disposition = format!("attachment; filename=\"weir-my-data-{day}.zip\"");
    let content = ReaderStream::with_capacity(content, PIECE_BYTES);
    let mut response = body_while_open(&server, session_id, content).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(info.size_bytes));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(disposition).map_err(ApiError::internal)?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store, no-transform"));
    Ok(response)
}

/// Am I to be erased
///
/// When, if that was asked for, and after how many days it would be.
#[utoipa::path(
    get, path = "/api/v1/me/erasure", operation_id = "get_erasure", tag = "accounts",
    security(("access_token" = [])),
    responses(
        (status = 200, description = "What becomes of the account.", body = Erasure),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_erasure(State(server): State<Arc<Server>>, authenticated: Authenticated) -> ApiResult<JsonBody<Erasure>> {
    let account = server.commands.load::<Account>(&authenticated.account_id.to_string()).await?;
    Ok(JsonBody(Erasure {
        after_days: u32::try_from(server.erasure_after.as_secs().div_ceil(86_400)).unwrap_or(u32::MAX),
        erased_at: account.and_then(|(account, _)| account.erasure_due_at()),
    }))
}

/// The export that somebody asked for last, as the log has it now.
async fn newest(server: &Server, by: &Authenticated) -> ApiResult<Option<PersonalExport>> {
    let Some(newest) = exports::newest(&server.commands, by.account_id).await? else { return Ok(None) };
    let pool = server.commands.pool();
    let fraction = match newest.state {
        ExportState::Requested => jobs::fraction(pool, newest.export_id).await.map_err(ApiError::unavailable)?,
        _ => None,
    };
    Ok(Some(export(newest, fraction)))
}

fn export(newest: NewestPersonalExport, fraction: Option<f64>) -> PersonalExport {
    let now = OffsetDateTime::now_utc();
    let is_ready = newest.state == ExportState::Completed;
    PersonalExport {
        id: newest.export_id.uuid(),
        status: match newest.state {
            ExportState::Requested if fraction.is_some() => PersonalExportStatus::Running,
            ExportState::Requested => PersonalExportStatus::Waiting,
            ExportState::Completed => PersonalExportStatus::Ready,
            ExportState::Failed => PersonalExportStatus::Failed,
            ExportState::Deleted => PersonalExportStatus::Deleted,
        },
        progress: if is_ready { 1.0 } else { fraction.unwrap_or(0.0).clamp(0.0, 1.0) },
        size_bytes: newest.size_bytes,
        created_at: newest.requested_at,
        completed_at: newest.completed_at,
        expires_at: newest.expires_at,
        again_at: match newest.state {
            ExportState::Completed => {
                Some(newest.requested_at + PERSONAL_EXPORT_EVERY).filter(|again_at| *again_at > now)
            }
            _ => None,
        },
        error: newest.failure.map(|failure| failure.to_string()),
        error_code: newest.failure.map(|failure| match failure {
            PersonalExportFailure::StorageFull => PersonalExportError::StorageFull,
            PersonalExportFailure::Interrupted => PersonalExportError::Interrupted,
            PersonalExportFailure::Unwritable => PersonalExportError::Unwritable,
        }),
    }
}

fn too_soon(again_at: OffsetDateTime) -> ApiError {
    let seconds = (again_at - OffsetDateTime::now_utc()).whole_seconds().max(1);
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "export_too_soon", "Your data was put together a short while ago")
        .detail("You can ask for your data once an hour. The last file is still there.")
        .header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

fn refused(refusal: DownloadRefusal) -> ApiError {
    let detail = match refusal {
        DownloadRefusal::Invalid => "Nobody signed this address. Take `download_url` as it was given.",
        DownloadRefusal::Expired => {
            "The address was good for five minutes, while you were signed in. Ask for a new one with your password."
        }
    };
    ApiError::new(StatusCode::FORBIDDEN, "download_refused", "This address does not open the file").detail(detail)
}

fn gone() -> ApiError {
    ApiError::not_found("There is no such file any more. Ask for your data again.")
}
