//! Exports: copies of a part of the event log as files. Asked for here, written by the processes, fetched here.
//!
//! Who may read which events is the rule of the feed ([`crate::events`]). An export is its requester's own, and every
//! administrator's; one of more than a channel is administrators' alone, as long as they are.

mod download;

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{
    CommandError, Done, Metadata, accounts, events,
    exports::{self, RequestExport, downloads, jobs, jobs::JobProgress},
};
use domain::{
    exports as facts,
    exports::{ExportDeletedReason, ExportRefusal, ExportState, ExportWay},
    ids::{AccountId, ExportId, SessionId},
};
use openapi::{
    Problem,
    events::ActorNames,
    exports::{
        CreateExportRequest, Export, ExportFilter, ExportFormat, ExportPage, ExportProgress, ExportStatus, ExportsQuery,
    },
};
use projections::{
    Projection,
    exports::{ExportRow, ExportsV1},
};
use time::{Duration, OffsetDateTime};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    events::{Parameters, Selection},
    extract::{Path, Query},
    idempotency::{Answer, KeyedJson, once},
    operation::{cursor, page},
    server::Server,
};

/// How many files an account may wait for.
const PENDING_LIMIT: i64 = 5;
/// How long an address to download from is good.
const DOWNLOAD_FOR: Duration = Duration::minutes(15);

/// What an export is shown from.
const SHOWN_FROM: &[&dyn Projection] = &[&ExportsV1];

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(list_exports, create_export))
        .routes(routes!(get_export, delete_export))
        .routes(routes!(download::download_export))
}

/// List exports
///
/// Newest first: one's own; administrators see everybody's. Those of more than a channel are shown to administrators alone, and
/// not to who asked for one as an administrator and is none any more.
#[utoipa::path(
    get, path = "/api/v1/exports", operation_id = "list_exports", tag = "exports",
    params(ExportsQuery), security(("access_token" = [])),
    responses(
        (status = 200, description = "Some exports.", body = ExportPage, headers(
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
    ),
)]
async fn list_exports(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Query(query): Query<ExportsQuery>,
) -> ApiResult<Response> {
    let after = cursor(query.after.as_deref())?;
    let is_administrator = accounts::is_administrator(&server.commands, authenticated.account_id).await?;
    let by = (!is_administrator).then_some(authenticated.account_id);
    let found = server.read.exports().jobs(by, after.as_ref(), query.limit.get().into()).await?;
    let running: Vec<ExportId> = found.items.iter().filter(|row| is_pending(row)).map(|row| row.id).collect();
    let progress = jobs::progress(server.commands.pool(), &running).await.map_err(ApiError::unavailable)?;
    let query = [("limit", query.limit.get().to_string())];
    // Progress and addresses change all the time: there is nothing to keep, so no ETag is of use.
    page("/api/v1/exports", &query, found, &HeaderMap::new(), |row| {
        export(&server, authenticated.session_id, &row, progress.get(&row.id))
    })
}

/// Create an export
///
/// Has a file made in the background: look at `Location` until `status` is `ready`, and fetch `download_url`. The file is
/// kept for seven days. Administrators may export all events; a channel's owner those of that channel and its streams, by
/// giving `channel`. Accounts stand under pseudonyms.
///
/// It holds what was in the log when it was asked for. Who asks for what is itself an event: `export.requested`, then
/// `export.completed` or `export.failed`.
#[utoipa::path(
    post, path = "/api/v1/exports", operation_id = "create_export", tag = "exports",
    params(("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "A UUID or other text that is this request's own. Sent again within a day with the same key and body, it gets the first answer.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")),
    request_body = CreateExportRequest, security(("access_token" = [])),
    responses(
        (status = 202, description = "It waits for its turn.", body = Export, headers(("Location" = String, description = "Where the export is."))),
        (status = 403, description = "`forbidden`: these events may be read by administrators, or by the owner of another channel.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`idempotency_in_flight`: the same request is being carried out.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`: a field is wrong, missing or unknown; `idempotency_key_reused`: the key came with another request.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_exports`: this account waits for several already.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn create_export(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    KeyedJson(request, key): KeyedJson<CreateExportRequest>,
) -> ApiResult<Response> {
    let carry_out = async |metadata: Metadata| {
        let filter = selected(&server, &authenticated, &request).await?;
        let pending = server.read.exports().pending_jobs(authenticated.account_id).await?;
        if pending >= PENDING_LIMIT {
            return Err(too_many(pending));
        }
        let head = events::head(server.commands.pool()).await.map_err(ApiError::unavailable)?;
        let request = RequestExport {
            by: Some(authenticated.account_id),
            way: ExportWay::Job,
            format: format_of(request.format),
            filter: exports::recorded(&filter, head),
            names_accounts: false,
            metadata,
        };
        let requested = exports::request(&server.commands, request).await.map_err(not_changed)?;
        // The next request is to see it, and to count it.
        server.has_read(SHOWN_FROM, requested.position).await;
        accepted(&server, requested.export_id).await.map_err(ApiError::half_done)
    };
    let recalled = async |done: Done| {
        server.has_read(SHOWN_FROM, done.position).await;
        accepted(&server, done.aggregate_id.parse().map_err(ApiError::internal)?).await
    };
    once(&server, &authenticated, key, Answer::Kept, carry_out, recalled).await
}

/// Get an export
///
/// Whoever asked for it may, and administrators; of more than a channel, administrators alone. Ask every second or two while it is
/// `waiting` or `running`.
#[utoipa::path(
    get, path = "/api/v1/exports/{id}", operation_id = "get_export", tag = "exports",
    params(("id" = String, Path, description = "The export.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d09")),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The export.", body = Export),
        (status = 404, description = "`not_found`: there is no such export, it is somebody else's, or it is of more than a channel and whoever asks is no administrator.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_export(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
) -> ApiResult<JsonBody<Export>> {
    let row = of_reader(&server, authenticated.account_id, &id).await?;
    let progress = jobs::progress(server.commands.pool(), &[row.id]).await.map_err(ApiError::unavailable)?;
    Ok(JsonBody(export(&server, authenticated.session_id, &row, progress.get(&row.id))))
}

/// Delete an export
///
/// Whoever asked for it may, and administrators; of more than a channel, administrators alone. Its file goes; what is being written is
/// given up.
#[utoipa::path(
    delete, path = "/api/v1/exports/{id}", operation_id = "delete_export", tag = "exports",
    params(("id" = String, Path, description = "The export.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d09")),
    security(("access_token" = [])),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 404, description = "`not_found`: there is no such export, it is somebody else's, or it is of more than a channel and whoever asks is no administrator.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn delete_export(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    let row = of_reader(&server, authenticated.account_id, &id).await?;
    let metadata = authenticated.metadata();
    match exports::delete(&server.commands, row.id, ExportDeletedReason::Requested, metadata).await {
        Ok(position) => {
            server.has_read(SHOWN_FROM, position).await;
            Ok(StatusCode::NO_CONTENT)
        }
        // The same again.
        Err(CommandError::Refused(ExportRefusal::Deleted)) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(not_changed(error)),
    }
}

/// The export of this id, for somebody who may see it.
async fn of_reader(server: &Server, account_id: AccountId, id: &str) -> ApiResult<ExportRow> {
    let unknown = || ApiError::not_found("There is no export with this id, or it is somebody else's.");
    let id: ExportId = id.parse().map_err(|_| unknown())?;
    let row = server.read.exports().by_id(id).await?.filter(|row| row.way == ExportWay::Job).ok_or_else(unknown)?;
    // Of more than a channel only administrators may read, also what they asked for when they were one.
    let is_own = row.requested_by == Some(account_id) && row.filter.channel_id.is_some();
    if is_own || accounts::is_administrator(&server.commands, account_id).await? { Ok(row) } else { Err(unknown()) }
}

/// Which events a request wants, if its account may have them.
async fn selected(server: &Server, by: &Authenticated, request: &CreateExportRequest) -> ApiResult<events::Filter> {
    let types = request.types.as_ref().filter(|types| !types.is_empty()).map(|types| types.join(","));
    let after = request.after.map(|after| after.to_string());
    let parameters = Parameters {
        after: after.as_deref(),
        types: types.as_deref(),
        subject: request.subject.as_deref(),
        channel: request.channel.as_deref(),
        from: request.from.as_deref(),
        to: request.to.as_deref(),
        actors: ActorNames::Pseudonymous,
    };
    let selection = Selection::new(server, by, parameters).await.map_err(ApiError::of_body)?;
    Ok(selection.filter)
}

/// 202 with an export that was just asked for.
async fn accepted(server: &Server, export_id: ExportId) -> ApiResult<Response> {
    // As the log has it: it may not be read yet.
    let loaded = server.commands.load::<facts::Export>(&export_id.to_string()).await?;
    let request = loaded.as_ref().and_then(|(export, _)| export.request());
    let request = request.ok_or_else(|| ApiError::internal("an export that was just requested is not in the log"))?;
    let export = Export {
        id: export_id.uuid(),
        status: ExportStatus::Waiting,
        format: format(request.format),
        filter: filter(request.filter.clone()),
        progress: Some(ExportProgress { events_done: 0, events_total: None, fraction: 0.0 }),
        event_count: None,
        size_bytes: None,
        created_at: request.requested_at,
        completed_at: None,
        expires_at: None,
        download_url: None,
        error: None,
    };
    let location = [(header::LOCATION, format!("/api/v1/exports/{export_id}"))];
    Ok((StatusCode::ACCEPTED, location, JsonBody(export)).into_response())
}

fn is_pending(row: &ExportRow) -> bool {
    row.state == ExportState::Requested
}

/// An export as it is shown to whoever has `session_id`.
fn export(server: &Server, session_id: SessionId, row: &ExportRow, running: Option<&JobProgress>) -> Export {
    let is_ready = row.state == ExportState::Completed;
    Export {
        id: row.id.uuid(),
        status: match row.state {
            ExportState::Requested if running.is_some() => ExportStatus::Running,
            ExportState::Requested => ExportStatus::Waiting,
            ExportState::Completed => ExportStatus::Ready,
            ExportState::Failed => ExportStatus::Failed,
            ExportState::Deleted => ExportStatus::Deleted,
        },
        format: format(row.format),
        filter: filter(row.filter.clone()),
        progress: progress(row, running),
        event_count: row.event_count,
        size_bytes: row.size_bytes,
        created_at: row.created_at,
        completed_at: row.completed_at,
        expires_at: row.expires_at,
        download_url: is_ready.then(|| {
            let expires_at = OffsetDateTime::now_utc() + DOWNLOAD_FOR;
            let token = downloads::token(&server.commands, row.id, session_id, expires_at);
            server.addresses.page(&format!("/api/v1/exports/{}/download?token={token}", row.id))
        }),
        error: row.failure.clone(),
    }
}

fn progress(row: &ExportRow, running: Option<&JobProgress>) -> Option<ExportProgress> {
    match row.state {
        ExportState::Requested => {
            let JobProgress { events_done, events_total, position } = running.copied().unwrap_or_default();
            let part = |done: i64, total: i64| if total > 0 { done as f64 / total as f64 } else { 0.0 };
            let fraction = match events_total {
                Some(total) => part(events_done, total),
                // Of the log that is looked through.
                None => part(position - row.filter.after, row.filter.until - row.filter.after),
            };
            Some(ExportProgress { events_done, events_total, fraction: fraction.clamp(0.0, 1.0) })
        }
        ExportState::Completed => {
            let events_done = row.event_count.unwrap_or(0);
            Some(ExportProgress { events_done, events_total: Some(events_done), fraction: 1.0 })
        }
        ExportState::Failed | ExportState::Deleted => None,
    }
}

fn filter(filter: facts::ExportFilter) -> ExportFilter {
    let facts::ExportFilter { types, subject, channel_id, after, until, from, to } = filter;
    ExportFilter { types, subject, channel_id: channel_id.map(|id| id.uuid()), after, until, from, to }
}

fn format(format: facts::ExportFormat) -> ExportFormat {
    match format {
        facts::ExportFormat::Parquet => ExportFormat::Parquet,
        facts::ExportFormat::Ndjson => ExportFormat::Ndjson,
        facts::ExportFormat::Csv => ExportFormat::Csv,
    }
}

fn format_of(format: ExportFormat) -> facts::ExportFormat {
    match format {
        ExportFormat::Parquet => facts::ExportFormat::Parquet,
        ExportFormat::Ndjson => facts::ExportFormat::Ndjson,
        ExportFormat::Csv => facts::ExportFormat::Csv,
    }
}

fn too_many(pending: i64) -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_exports", "Too many exports are waiting")
        .detail(format!("This account waits for {pending} exports. Wait until one is ready, or delete one."))
        .header(header::RETRY_AFTER, HeaderValue::from_static("10"))
}

fn not_changed(error: CommandError<ExportRefusal>) -> ApiError {
    ApiError::command(error, |refusal| match refusal {
        ExportRefusal::Unknown | ExportRefusal::Deleted => {
            ApiError::not_found("There is no export with this id, or it is somebody else's.")
        }
        ExportRefusal::AlreadyExists | ExportRefusal::AlreadyEnded => ApiError::internal(refusal),
    })
}
