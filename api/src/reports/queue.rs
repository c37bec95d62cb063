//! The queue of reports: what administrators read and decide.

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use commands::reports::{self, DecideReport};
use domain::ids::ReportId;
use openapi::{
    Problem,
    operation::Accepted,
    reports::{
        DecideReportRequest, QueuedReport, QueuedReportPage, QueuedReportsQuery, ReportAction, ReportPerson,
        ReportState,
    },
};
use projections::{
    Projection,
    accounts::SuspensionsV1,
    reports::{self as rows, ReportFilter, ReportRow, ReportsV1},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{action, action_of, failed, kind, state, texts, thing, verdict_of};
use crate::{
    accounts::need_administrator,
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::{Json, Path, Query},
    operation::{accepted, cursor, page},
    server::Server,
};

const PATH: &str = "/api/v1/admin/reports";
/// What a report is shown from, and what follows from a decision.
const SHOWN_FROM: &[&dyn Projection] = &[&ReportsV1, &SuspensionsV1];

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(list_reports)).routes(routes!(get_report)).routes(routes!(decide_report))
}

/// List reports
///
/// Administrators may. Newest first.
#[utoipa::path(
    get, path = "/api/v1/admin/reports", operation_id = "list_reports", tag = "reports",
    params(QueuedReportsQuery), security(("access_token" = [])),
    responses(
        (status = 200, description = "Some reports.", body = QueuedReportPage, headers(
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
        (status = 403, description = "`forbidden`: only administrators may; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_reports(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Query(query): Query<QueuedReportsQuery>,
) -> ApiResult<Response> {
    need_administrator(&server, &authenticated).await?;
    let after = cursor(query.after.as_deref())?;
    let filter = ReportFilter { state: query.state.map(row_state), by: None };
    let found = server.read.reports().page(filter, after.as_ref(), query.limit.get().into()).await?;
    let next = found.next;
    let items = queued(&server, found.items).await?;
    let mut pairs = vec![("limit", query.limit.get().to_string())];
    pairs.extend(query.state.map(|state| ("state", state_text(state).to_owned())));
    page(PATH, &pairs, projections::Page { items, next }, &HeaderMap::new(), |report| report)
}

/// Get a report
///
/// Administrators may.
#[utoipa::path(
    get, path = "/api/v1/admin/reports/{id}", operation_id = "get_report", tag = "reports",
    params(("id" = String, Path, description = "The report.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d20")),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The report.", body = QueuedReport),
        (status = 403, description = "`forbidden`: only administrators may; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such report.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_report(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
) -> ApiResult<JsonBody<QueuedReport>> {
    need_administrator(&server, &authenticated).await?;
    shown(&server, report_id(&id)?).await.map(JsonBody)
}

/// Decide a report
///
/// Administrators may, once; the same again makes no difference. What is taken down is gone within seconds and for good. With
/// `suspend_account` the account of whoever it belongs to is suspended, for `reason` and until `until`, unless it is so for longer
/// already; where that cannot be, nothing is decided. Whoever reported sees verdict and answer among their reports.
#[utoipa::path(
    put, path = "/api/v1/admin/reports/{id}/decision", operation_id = "decide_report", tag = "reports",
    params(("id" = String, Path, description = "The report.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d20")),
    request_body = DecideReportRequest, security(("access_token" = [])),
    responses(
        (status = 200, description = "The report as it is now.", body = QueuedReport),
        (status = 202, description = "Decided, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the report is."))),
        (status = 403, description = "`forbidden`: only administrators may; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such report, or not the account that is to be suspended.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`already_decided`: it was decided otherwise; `own_account`, `last_administrator`: this account cannot be suspended; `conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn decide_report(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
    Json(request): Json<DecideReportRequest>,
) -> ApiResult<Response> {
    need_administrator(&server, &authenticated).await?;
    let report_id = report_id(&id)?;
    let DecideReportRequest { verdict, action, answer, reason, until } = request;
    let suspends = action == ReportAction::SuspendAccount;
    let decide = DecideReport {
        report_id,
        by: authenticated.account_id,
        verdict: verdict_of(verdict),
        action: action_of(action),
        answer: answer.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
        until,
        metadata: authenticated.metadata(),
    };
    let decided = reports::decide(&server.commands, decide).await;
    if suspends {
        server.know_ended().await;
    }
    let position = decided.map_err(failed)?;
    // It is done: a read that fails is one that has to wait.
    if server.has_read(SHOWN_FROM, position).await
        && let Ok(report) = shown(&server, report_id).await
    {
        return Ok(JsonBody(report).into_response());
    }
    Ok(accepted(position, format!("{PATH}/{report_id}")))
}

fn not_found() -> ApiError {
    ApiError::not_found("There is no report with this id.")
}

fn report_id(id: &str) -> ApiResult<ReportId> {
    id.parse().map_err(|_| not_found())
}

async fn shown(server: &Server, report_id: ReportId) -> ApiResult<QueuedReport> {
    let row = server.read.reports().by_id(report_id).await?.ok_or_else(not_found)?;
    queued(server, vec![row]).await?.pop().ok_or_else(not_found)
}

/// As administrators see them, in their order.
async fn queued(server: &Server, rows: Vec<ReportRow>) -> ApiResult<Vec<QueuedReport>> {
    let texts = texts(server, &rows).await?;
    let report = |(row, (text, answer)): (ReportRow, (Option<String>, Option<String>))| QueuedReport {
        id: row.id.uuid(),
        is_owner_suspended: row.is_owner_suspended,
        reporter: ReportPerson { id: row.account_id.uuid(), username: row.username.clone() },
        kind: kind(row.kind),
        text,
        at_ms: row.at_ms,
        state: state(row.verdict),
        action: row.action.map(action),
        answer,
        decided_by: row.decided_by.clone(),
        created_at: row.filed_at,
        decided_at: row.decided_at,
        target: thing(row),
    };
    Ok(rows.into_iter().zip(texts).map(report).collect())
}

fn row_state(state: ReportState) -> rows::ReportState {
    match state {
        ReportState::Open => rows::ReportState::Open,
        ReportState::Dismissed => rows::ReportState::Decided(domain::reports::ReportVerdict::Dismissed),
        ReportState::Upheld => rows::ReportState::Decided(domain::reports::ReportVerdict::Upheld),
    }
}

fn state_text(state: ReportState) -> &'static str {
    match state {
        ReportState::Open => "open",
        ReportState::Dismissed => "dismissed",
        ReportState::Upheld => "upheld",
    }
}
