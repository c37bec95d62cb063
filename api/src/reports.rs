//! Reports: making them, and seeing what came of one's own. What administrators do with them is in [`queue`].

mod queue;

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{
    Done,
    reports::{self, FileReport, ReportsError},
};
use domain::{
    ids::ReportId,
    recordings::{RecordingState, RecordingVisibility},
    reports as facts,
    reports::ReportRefusal,
};
use openapi::{
    FieldError, Problem,
    operation::Accepted,
    reports::{
        CreateReportRequest, Report, ReportAction, ReportKind, ReportPage, ReportPerson, ReportState, ReportVerdict,
        ReportedKind, ReportedThing, ReportsQuery,
    },
};
use projections::{
    Projection,
    reports::{ReportFilter, ReportRow, ReportsV1},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    accounts::not_suspended,
    authentication::Authenticated,
    channels::{Rights, may_watch},
    error::{ApiError, ApiResult},
    extract::Query,
    idempotency::{Answer, KeyedJson, once},
    limits::{Policy, Quota},
    operation::{accepted, cursor, page},
    server::Server,
};

const OWN_PATH: &str = "/api/v1/me/reports";
/// What a report is shown from.
const SHOWN_FROM: &[&dyn Projection] = &[&ReportsV1];

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(create_report)).routes(routes!(list_own_reports)).merge(queue::routes())
}

/// Report something
///
/// A stream, a recording, a channel or a person that you may see. The administrators of this install read it and decide; whoever
/// is reported does not learn by whom. What you have reported and nobody has decided about cannot be reported again.
#[utoipa::path(
    post, path = "/api/v1/reports", operation_id = "create_report", tag = "reports",
    params(("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "A UUID or other text that is this request's own. Sent again within a day with the same key and body, it gets the first answer.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")),
    request_body = CreateReportRequest, security(("access_token" = [])),
    responses(
        (status = 201, description = "Reported.", body = Report, headers(("Location" = String, description = "Where your reports are."))),
        (status = 202, description = "Reported, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where your reports are."))),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such thing, or it is not for you.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`already_reported`: you have reported it, and nobody has decided yet; `idempotency_in_flight`: the same request is being carried out.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`: a field is wrong, missing or unknown; `idempotency_key_reused`: the key came with another request.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn create_report(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    KeyedJson(request, key): KeyedJson<CreateReportRequest>,
) -> ApiResult<Response> {
    let by = authenticated.account_id;
    let carry_out = async |metadata| {
        let CreateReportRequest { target_kind, target_id, kind, text, at_ms } = request;
        if at_ms.is_some_and(|at_ms| at_ms < 0) {
            return Err(ApiError::wrong_field(FieldError {
                pointer: "/at_ms".to_owned(),
                code: "out_of_range".into(),
                message: "Give a time from 0 on, or leave it out.".into(),
            }));
        }
        let target = target_of(target_kind, target_id);
        if !is_visible(&server, &authenticated, target).await? {
            return Err(nothing_there());
        }
        // By account: one person may have many addresses.
        let limits = server.access.rate_limits.as_ref();
        limits.map(|limits| limits.take(Policy::Report, &by.to_string())).transpose().map_err(Quota::refusal)?;
        let file = FileReport { by, target, kind: kind_of(kind), text, at_ms, metadata };
        let filed = reports::file(&server.commands, file).await.map_err(failed)?;
        // It is done: a read that fails is one that has to wait.
        if server.has_read(SHOWN_FROM, filed.position).await
            && let Ok(Some(response)) = created(&server, &authenticated, filed.report_id).await
        {
            return Ok(response);
        }
        Ok(accepted(filed.position, OWN_PATH.to_owned()))
    };
    let recalled = async |done: Done| {
        server.has_read(SHOWN_FROM, done.position).await;
        let report_id = done.aggregate_id.parse().map_err(ApiError::internal)?;
        created(&server, &authenticated, report_id).await?.ok_or_else(nothing_there)
    };
    once(&server, &authenticated, key, Answer::Kept, carry_out, recalled).await
}

async fn created(server: &Server, by: &Authenticated, report_id: ReportId) -> ApiResult<Option<Response>> {
    let Some(row) = server.read.reports().by_id(report_id).await? else { return Ok(None) };
    let Some(report) = own(server, by, vec![row]).await?.pop() else { return Ok(None) };
    let location = [(header::LOCATION, OWN_PATH)];
    Ok(Some((StatusCode::CREATED, location, JsonBody(report)).into_response()))
}

/// List my reports
///
/// Newest first, with what came of them. What is gone, or not for you any more, has neither title nor handle.
#[utoipa::path(
    get, path = "/api/v1/me/reports", operation_id = "list_own_reports", tag = "reports",
    params(ReportsQuery), security(("access_token" = [])),
    responses(
        (status = 200, description = "Some reports.", body = ReportPage, headers(
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_own_reports(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Query(query): Query<ReportsQuery>,
) -> ApiResult<Response> {
    let after = cursor(query.after.as_deref())?;
    let filter = ReportFilter { by: Some(authenticated.account_id), state: None };
    let found = server.read.reports().page(filter, after.as_ref(), query.limit.get().into()).await?;
    let next = found.next;
    let items = own(&server, &authenticated, found.items).await?;
    let query = [("limit", query.limit.get().to_string())];
    page(OWN_PATH, &query, projections::Page { items, next }, &HeaderMap::new(), |report| report)
}

/// Whether somebody may see what they report. What was deleted since they saw it cannot be looked at by who decides either.
async fn is_visible(server: &Server, by: &Authenticated, target: facts::ReportTarget) -> ApiResult<bool> {
    let rights: Option<Rights> = match target {
        facts::ReportTarget::Account { account_id } => {
            let account = server.read.administered_accounts().by_id(account_id).await?;
            return Ok(account.is_some());
        }
        facts::ReportTarget::Channel { id } => {
            let channel = server.read.channels().by_id(id).await?;
            channel.map(|row| Rights { channel_id: row.id, visibility: row.visibility })
        }
        facts::ReportTarget::Stream { id } => match server.read.streams().by_id(id).await? {
            Some(row) => {
                let channel = server.read.channels().by_id(row.channel_id).await?;
                channel.map(|row| Rights { channel_id: row.id, visibility: row.visibility })
            }
            None => None,
        },
        facts::ReportTarget::Recording { id } => {
            let row = server.read.recordings().by_id(id).await?;
            let shown = row.filter(|row| {
                row.state == RecordingState::Published && row.visibility != RecordingVisibility::Archived
            });
            shown.map(|row| Rights { channel_id: row.channel_id, visibility: row.channel_visibility })
        }
    };
    match rights {
        Some(rights) => may_watch(server, Some(by), rights).await,
        None => Ok(false),
    }
}

fn nothing_there() -> ApiError {
    ApiError::not_found("What you want to report is not there, or it is not for you.")
}

/// Why there is no report, or no decision.
fn failed(error: ReportsError) -> ApiError {
    match error {
        ReportsError::Invalid(invalid) => ApiError::validation_failed(invalid),
        ReportsError::Suspension(error) => not_suspended(error),
        ReportsError::Command(error) => ApiError::command(error, |refusal| match refusal {
            ReportRefusal::AlreadyReported => {
                ApiError::new(StatusCode::CONFLICT, "already_reported", "You have reported this").detail(
                    "You have reported this, and nobody has decided yet. Your reports are listed at /me/reports.",
                )
            }
            ReportRefusal::TargetUnknown => nothing_there(),
            ReportRefusal::Unknown => ApiError::not_found("There is no report with this id."),
            ReportRefusal::AlreadyDecided => {
                ApiError::new(StatusCode::CONFLICT, "already_decided", "The report was decided before")
                    .detail("Somebody has decided otherwise. Look at how it is now.")
            }
            ReportRefusal::ActionImpossible => ApiError::wrong_field(FieldError {
                pointer: "/action".to_owned(),
                code: "impossible".into(),
                message: "Only a stream or a recording is taken down, and nothing is done where a report is dismissed."
                    .into(),
            }),
            ReportRefusal::AlreadyExists => ApiError::internal("a new report was there before"),
        }),
    }
}

/// As `by`, who made them, sees them, in their order.
async fn own(server: &Server, by: &Authenticated, rows: Vec<ReportRow>) -> ApiResult<Vec<Report>> {
    let texts = texts(server, &rows).await?;
    let mut reports = Vec::with_capacity(rows.len());
    for (row, (text, answer)) in rows.into_iter().zip(texts) {
        // Titles and handles are those of this moment: to have reported something gives no right to them.
        let is_shown = is_visible(server, by, row.target).await?;
        let (id, kind, state) = (row.id.uuid(), kind(row.kind), state(row.verdict));
        let (at_ms, created_at, decided_at) = (row.at_ms, row.filed_at, row.decided_at);
        let mut target = thing(row);
        if !is_shown {
            (target.handle, target.title) = (None, None);
        }
        let text = text.unwrap_or_default();
        reports.push(Report { id, target, kind, text, at_ms, state, answer, created_at, decided_at });
    }
    Ok(reports)
}

/// What was said of each, and answered.
async fn texts(server: &Server, rows: &[ReportRow]) -> ApiResult<Vec<(Option<String>, Option<String>)>> {
    let sealed = rows.iter().flat_map(|row| std::iter::once(&row.text).chain(&row.answer)).collect();
    let opened = reports::open(&server.commands, sealed).await;
    let mut opened = opened.map_err(|error| ApiError::command(error, ApiError::internal))?.into_iter();
    let pair = |row: &ReportRow| {
        let text = opened.next().flatten();
        let answer = row.answer.as_ref().and_then(|_| opened.next().flatten());
        (text, answer)
    };
    Ok(rows.iter().map(pair).collect())
}

fn thing(row: ReportRow) -> ReportedThing {
    ReportedThing {
        kind: match row.target {
            facts::ReportTarget::Stream { .. } => ReportedKind::Stream,
            facts::ReportTarget::Recording { .. } => ReportedKind::Recording,
            facts::ReportTarget::Channel { .. } => ReportedKind::Channel,
            facts::ReportTarget::Account { .. } => ReportedKind::Account,
        },
        id: row.target.id(),
        handle: row.target_handle,
        title: row.target_title,
        owner: ReportPerson { id: row.owner_id.uuid(), username: row.owner_username },
    }
}

fn target_of(kind: ReportedKind, id: uuid::Uuid) -> facts::ReportTarget {
    match kind {
        ReportedKind::Stream => facts::ReportTarget::Stream { id: id.into() },
        ReportedKind::Recording => facts::ReportTarget::Recording { id: id.into() },
        ReportedKind::Channel => facts::ReportTarget::Channel { id: id.into() },
        ReportedKind::Account => facts::ReportTarget::Account { account_id: id.into() },
    }
}

fn kind(kind: facts::ReportKind) -> ReportKind {
    match kind {
        facts::ReportKind::Copyright => ReportKind::Copyright,
        facts::ReportKind::Rules => ReportKind::Rules,
        facts::ReportKind::Other => ReportKind::Other,
    }
}

fn kind_of(kind: ReportKind) -> facts::ReportKind {
    match kind {
        ReportKind::Copyright => facts::ReportKind::Copyright,
        ReportKind::Rules => facts::ReportKind::Rules,
        ReportKind::Other => facts::ReportKind::Other,
    }
}

fn state(verdict: Option<facts::ReportVerdict>) -> ReportState {
    match verdict {
        None => ReportState::Open,
        Some(facts::ReportVerdict::Dismissed) => ReportState::Dismissed,
        Some(facts::ReportVerdict::Upheld) => ReportState::Upheld,
    }
}

fn verdict_of(verdict: ReportVerdict) -> facts::ReportVerdict {
    match verdict {
        ReportVerdict::Dismissed => facts::ReportVerdict::Dismissed,
        ReportVerdict::Upheld => facts::ReportVerdict::Upheld,
    }
}

fn action(action: facts::ReportAction) -> ReportAction {
    match action {
        facts::ReportAction::None => ReportAction::None,
        facts::ReportAction::TakeDown => ReportAction::TakeDown,
        facts::ReportAction::SuspendAccount => ReportAction::SuspendAccount,
    }
}

fn action_of(action: ReportAction) -> facts::ReportAction {
    match action {
        ReportAction::None => facts::ReportAction::None,
        ReportAction::TakeDown => facts::ReportAction::TakeDown,
        ReportAction::SuspendAccount => facts::ReportAction::SuspendAccount,
    }
}
