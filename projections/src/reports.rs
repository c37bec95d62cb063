//! What was reported, and what was decided: `reports_v1`.

mod apply;

use domain::{
    ids::{AccountId, ReportId},
    reports::{ReportAction, ReportKind, ReportTarget, ReportVerdict},
    sealed::Sealed,
};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error as ValueError},
};
use sqlx::{PgPool, Row, postgres::PgRow, prelude::FromRow, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

pub use apply::ReportsV1;

use crate::{Cursor, Page, QueryError, accounts::ERASED_USERNAME, page::PageQuery};

/// A report with what it is about, as that is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// The report.
    pub id: ReportId,
    /// Who reported.
    pub account_id: AccountId,
    /// Their username; [`ERASED_USERNAME`] for an erased person.
    pub username: String,
    /// What.
    pub target: ReportTarget,
    /// The handle of the channel that it is or belongs to; `None` of an account.
    pub target_handle: Option<String>,
    /// What it is called; `None` where it has no title, or it went with its channel.
    pub target_title: Option<String>,
    /// Whose it is.
    pub owner_id: AccountId,
    /// Their username; [`ERASED_USERNAME`] for an erased person.
    pub owner_username: String,
    /// Whether their account is suspended now.
    pub is_owner_suspended: bool,
    /// What is said to be wrong.
    pub kind: ReportKind,
    /// What they said of it, sealed under the key of who reported.
    pub text: Sealed,
    /// Where in the stream or recording, in milliseconds from its start.
    pub at_ms: Option<i64>,
    /// What was found; `None` while it is open.
    pub verdict: Option<ReportVerdict>,
    /// What was done; `None` while it is open.
    pub action: Option<ReportAction>,
    /// What was answered, sealed under the key of who reported.
    pub answer: Option<Sealed>,
    /// The username of the administrator who decided; `None` while it is open.
    pub decided_by: Option<String>,
    /// When it was made.
    pub filed_at: OffsetDateTime,
    /// When it was decided.
    pub decided_at: Option<OffsetDateTime>,
}

/// How far a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportState {
    /// Nobody has decided.
    Open,
    /// It was decided so.
    Decided(ReportVerdict),
}

impl ReportState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Decided(verdict) => verdict.as_str(),
        }
    }
}

/// Which reports; all of them by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportFilter {
    /// Only those that are so far.
    pub state: Option<ReportState>,
    /// Only those that this account has made.
    pub by: Option<AccountId>,
}

/// Questions about reports; from [`ReadModels::reports`](crate::ReadModels::reports).
#[derive(Debug, Clone, Copy)]
pub struct Reports<'a> {
    pub(crate) pool: &'a PgPool,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "select report.id, report.account_id, reporter.username, report.target_kind, report.target_id, ",
            // Titles and names have one home each, so that erasure has one place to clear.
            "channel.handle as target_handle, ",
            "coalesce(recording.title, stream.title, nullif(channel.title, '')) as target_title, ",
            "report.owner_id, owner.username as owner_username, ",
            "report.owner_id in ",
            crate::accounts::suspended_accounts!(),
            " as is_owner_suspended, ",
            "report.kind, report.text, report.at_ms, report.state, report.action, report.answer, ",
            "report.decided_by, decider.username as decider_username, report.filed_at, report.decided_at ",
            "from read.reports_v1 report ",
            "left join read.streams_v1 stream on report.target_kind = 'stream' and stream.id = report.target_id ",
            "left join read.recordings_v1 recording on report.target_kind = 'recording' and recording.id = report.target_id ",
            "left join read.channels_v1 channel on channel.id = case report.target_kind \
                 when 'channel' then report.target_id when 'stream' then stream.channel_id \
                 when 'recording' then recording.channel_id end ",
            "left join read.accounts_v1 reporter on reporter.id = report.account_id ",
            "left join read.accounts_v1 owner on owner.id = report.owner_id ",
            "left join read.accounts_v1 decider on decider.id = report.decided_by ",
            $tail
        )
    };
}

impl Reports<'_> {
    /// The report of this id, if there is one.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_id(&self, id: ReportId) -> Result<Option<ReportRow>, QueryError> {
        Ok(sqlx::query_as(select!("where report.id = $1")).bind(id.uuid()).fetch_optional(self.pool).await?)
    }

    /// Reports, the newest first, `limit` at a time (1 to [`MAX_LIMIT`](crate::MAX_LIMIT)), from the beginning or after where a
    /// page ended.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn page(
        &self,
        filter: ReportFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<ReportRow>, QueryError> {
        let mut query = PageQuery::new(select!(""), limit);
        if let Some(state) = filter.state {
            query.condition("report.state = ").push_bind(state.as_str());
        }
        if let Some(by) = filter.by {
            query.condition("report.account_id = ").push_bind(by.uuid());
        }
        let page = query.fetch(self.pool, ("report.filed_at", "report.id"), after, |row: &ReportRow| {
            Cursor::after(row.filed_at, row.id.uuid())
        });
        Ok(page.await?)
    }
}

impl FromRow<'_, PgRow> for ReportRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let username = |column: &str| -> Result<String, sqlx::Error> {
            let username: Option<String> = row.try_get(column)?;
            Ok(username.unwrap_or_else(|| ERASED_USERNAME.to_owned()))
        };
        let target_id: Uuid = row.try_get("target_id")?;
        let target = match row.try_get("target_kind")? {
            "stream" => ReportTarget::Stream { id: target_id.into() },
            "recording" => ReportTarget::Recording { id: target_id.into() },
            "channel" => ReportTarget::Channel { id: target_id.into() },
            "account" => ReportTarget::Account { account_id: target_id.into() },
            other => return Err(sqlx::Error::Decode(format!("{other:?} is nothing that is reported").into())),
        };
        let state: &str = row.try_get("state")?;
        let decided_by: Option<Uuid> = row.try_get("decided_by")?;
        Ok(Self {
            id: row.try_get::<Uuid, _>("id")?.into(),
            account_id: row.try_get::<Uuid, _>("account_id")?.into(),
            username: username("username")?,
            target,
            target_handle: row.try_get("target_handle")?,
            target_title: row.try_get("target_title")?,
            owner_id: row.try_get::<Uuid, _>("owner_id")?.into(),
            owner_username: username("owner_username")?,
            is_owner_suspended: row.try_get("is_owner_suspended")?,
            kind: word("kind", row.try_get("kind")?)?,
            text: row.try_get::<Json<Sealed>, _>("text")?.0,
            at_ms: row.try_get("at_ms")?,
            verdict: if state == "open" { None } else { Some(word("state", state)?) },
            action: row.try_get::<Option<&str>, _>("action")?.map(|text| word("action", text)).transpose()?,
            answer: row.try_get::<Option<Json<Sealed>>, _>("answer")?.map(|Json(answer)| answer),
            decided_by: decided_by.map(|_| username("decider_username")).transpose()?,
            filed_at: row.try_get("filed_at")?,
            decided_at: row.try_get("decided_at")?,
        })
    }
}

/// A word that `domain` knows.
fn word<'r, T: Deserialize<'r>>(column: &str, text: &'r str) -> Result<T, sqlx::Error> {
    T::deserialize(text.into_deserializer())
        .map_err(|error: ValueError| sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() })
}
