//! Reports: somebody says that something breaks a right or a rule; administrators decide.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{Limit, Page};

/// What can be reported: a broadcast (`stream`), a recording (`recording`), a channel as a whole (`channel`), a person
/// (`account`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportedKind {
    /// A broadcast.
    Stream,
    /// A recording.
    Recording,
    /// A channel as a whole.
    Channel,
    /// A person.
    Account,
}

/// What is said to be wrong: it is somebody else's work (`copyright`), it breaks the rules of this install (`rules`), or
/// something else (`other`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportKind {
    /// It is somebody else's work.
    Copyright,
    /// It breaks the rules of this install.
    Rules,
    /// Something else.
    Other,
}

/// How far a report is: nobody has decided (`open`), there is nothing that has to be acted on (`dismissed`), it is right
/// (`upheld`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportState {
    /// Nobody has decided.
    Open,
    /// There is nothing in it that has to be acted on.
    Dismissed,
    /// It is right.
    Upheld,
}

/// What was found: nothing that has to be acted on (`dismissed`), or that it is right (`upheld`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportVerdict {
    /// There is nothing in it that has to be acted on.
    Dismissed,
    /// It is right.
    Upheld,
}

/// What is done: nothing (`none`); the stream is ended and its recording deleted, or the recording is deleted (`take_down`); the
/// account of whoever it belongs to is suspended (`suspend_account`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportAction {
    /// Nothing, or nothing by Weir.
    None,
    /// A stream or a recording is taken down.
    TakeDown,
    /// An account is suspended.
    SuspendAccount,
}

/// Somebody by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportPerson {
    /// The account.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")]
    pub id: Uuid,
    /// Its username, or `[erased]`.
    #[schema(example = "mira")]
    pub username: String,
}

/// What was reported, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportedThing {
    /// Of what kind it is.
    pub kind: ReportedKind,
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d05")]
    pub id: Uuid,
    /// The handle of the channel that it is or belongs to; `null` of an account, where that is gone, and among one's own reports
    /// where one may not see it any more.
    #[schema(required = true, example = "river_talks")]
    pub handle: Option<String>,
    /// What it is called; `null` of an account, where that is gone, and among one's own reports where one may not see it any more.
    #[schema(required = true, example = "Night shift on the river")]
    pub title: Option<String>,
    /// Whose it is.
    pub owner: ReportPerson,
}

/// Something to report.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateReportRequest {
    /// Of what kind it is.
    pub target_kind: ReportedKind,
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d05")]
    pub target_id: Uuid,
    /// What is wrong.
    pub kind: ReportKind,
    /// What whoever decides has to know.
    #[schema(example = "This is my film, and nobody asked me.", min_length = 1, max_length = 2_000)]
    pub text: String,
    /// Where in the stream or recording, in milliseconds from its start.
    #[serde(default)]
    #[schema(example = 754_000, minimum = 0)]
    pub at_ms: Option<i64>,
}

/// A report as whoever made it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d20")]
    pub id: Uuid,
    /// What was reported.
    pub target: ReportedThing,
    /// What is said to be wrong.
    pub kind: ReportKind,
    /// What was said of it.
    #[schema(example = "This is my film, and nobody asked me.")]
    pub text: String,
    /// Where in the stream or recording, in milliseconds from its start; `null` where that was not said.
    #[schema(required = true, example = 754_000, minimum = 0)]
    pub at_ms: Option<i64>,
    /// How far it is.
    pub state: ReportState,
    /// What an administrator answered; `null` where nobody did.
    #[schema(required = true, example = "Thank you. The video is gone.")]
    pub answer: Option<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// When it was decided; `null` while it is open.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-21T11:00:00.123456Z")]
    pub decided_at: Option<OffsetDateTime>,
}

/// Some reports.
pub type ReportPage = Page<Report>;

/// A report as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueuedReport {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d20")]
    pub id: Uuid,
    /// What was reported.
    pub target: ReportedThing,
    /// Whether the account of whoever it belongs to is suspended.
    #[schema(example = false)]
    pub is_owner_suspended: bool,
    /// Who reported.
    pub reporter: ReportPerson,
    /// What is said to be wrong.
    pub kind: ReportKind,
    /// What was said of it; `null` once who reported was erased.
    #[schema(required = true, example = "This is my film, and nobody asked me.")]
    pub text: Option<String>,
    /// Where in the stream or recording, in milliseconds from its start; `null` where that was not said.
    #[schema(required = true, example = 754_000, minimum = 0)]
    pub at_ms: Option<i64>,
    /// How far it is.
    pub state: ReportState,
    /// What was done; `null` while it is open.
    #[schema(required = true)]
    pub action: Option<ReportAction>,
    /// What was answered; `null` where nothing was, and once who reported was erased.
    #[schema(required = true, example = "Thank you. The video is gone.")]
    pub answer: Option<String>,
    /// The username of the administrator who decided; `null` while it is open.
    #[schema(required = true, example = "keeper")]
    pub decided_by: Option<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// When it was decided; `null` while it is open.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-21T11:00:00.123456Z")]
    pub decided_at: Option<OffsetDateTime>,
}

/// Some reports, as administrators see them.
pub type QueuedReportPage = Page<QueuedReport>;

/// What was found of a report, and what is done.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideReportRequest {
    /// What was found.
    pub verdict: ReportVerdict,
    /// What is done; `take_down` of a stream or recording alone, and nothing where the report is dismissed.
    pub action: ReportAction,
    /// What whoever reported is told.
    #[serde(default)]
    #[schema(example = "Thank you. The video is gone.", max_length = 2_000)]
    pub answer: Option<String>,
    /// Of a suspension: why, in words for whoever is suspended.
    #[serde(default)]
    #[schema(example = "Somebody else's films, after two warnings.", max_length = 500)]
    pub reason: Option<String>,
    /// Of a suspension: when it is over by itself (RFC 3339); left out: not before an administrator lifts it.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(example = "2026-11-28T10:00:00Z")]
    pub until: Option<OffsetDateTime>,
}

/// Which reports to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReportsQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20, example = 20)]
    pub limit: Limit,
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    pub after: Option<String>,
}

/// Which reports of the queue to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QueuedReportsQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20, example = 20)]
    pub limit: Limit,
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    pub after: Option<String>,
    /// Only those that are so far.
    #[param(inline)]
    pub state: Option<ReportState>,
}
