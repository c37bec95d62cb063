//! Reports: somebody says that something breaks a right or a rule, and an administrator decides.
//!
//! No event of a report has a field `channel_id`: what belongs to a channel is read by its owner, and who has reported it is not
//! for them. Who reports is `account_id`, whose it is `owner_id`, by which names the feed knows accounts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{
    Aggregate, Claim, Claimed, Event, Invalid,
    ids::{AccountId, ChannelId, RecordingId, ReportId, StreamId},
    invalid,
    sealed::Sealed,
    timestamp,
};

/// What somebody says of what they report: 1 to 2,000 characters, on one line or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportText(String);

impl ReportText {
    /// A text as typed, trimmed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        invalid::text("text", text, (1, 2_000), true).map(Self)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an administrator answers to who has reported: 1 to 2,000 characters, on one line or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportAnswer(String);

impl ReportAnswer {
    /// An answer as typed, trimmed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        invalid::text("answer", text, (1, 2_000), true).map(Self)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReportTarget {
    /// One broadcast.
    Stream {
        /// The stream.
        id: StreamId,
    },
    /// One recording.
    Recording {
        /// The recording.
        id: RecordingId,
    },
    /// A channel as a whole.
    Channel {
        /// The channel.
        id: ChannelId,
    },
    /// A person.
    Account {
        /// Who; by the name under which the feed knows accounts, to give them pseudonyms.
        account_id: AccountId,
    },
}

impl ReportTarget {
    /// Its kind as stored and sent, `stream` for example.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Stream { .. } => "stream",
            Self::Recording { .. } => "recording",
            Self::Channel { .. } => "channel",
            Self::Account { .. } => "account",
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(self) -> uuid::Uuid {
        match self {
            Self::Stream { id } => id.uuid(),
            Self::Recording { id } => id.uuid(),
            Self::Channel { id } => id.uuid(),
            Self::Account { account_id } => account_id.uuid(),
        }
    }

    /// Whether it can be taken down by itself: a channel and a person go with the account.
    #[must_use]
    pub fn can_be_taken_down(self) -> bool {
        matches!(self, Self::Stream { .. } | Self::Recording { .. })
    }
}

/// What is said to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportKind {
    /// It is somebody else's work.
    Copyright,
    /// It breaks the rules of this install.
    Rules,
    /// Something else.
    Other,
}

impl ReportKind {
    /// As stored and sent, `copyright` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copyright => "copyright",
            Self::Rules => "rules",
            Self::Other => "other",
        }
    }
}

/// What was found of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportVerdict {
    /// There is nothing in it that has to be acted on.
    Dismissed,
    /// It is right.
    Upheld,
}

impl ReportVerdict {
    /// As stored and sent, `upheld` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dismissed => "dismissed",
            Self::Upheld => "upheld",
        }
    }
}

/// What is done about what was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportAction {
    /// Nothing, or nothing by Weir.
    None,
    /// The stream is ended and its recording deleted, or the recording is deleted.
    TakeDown,
    /// The account of whoever it belongs to is suspended.
    SuspendAccount,
}

impl ReportAction {
    /// As stored and sent, `take_down` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::TakeDown => "take_down",
            Self::SuspendAccount => "suspend_account",
        }
    }
}

/// What a report can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportCommand {
    /// Make it.
    File {
        /// The new report.
        report_id: ReportId,
        /// Who reports.
        account_id: AccountId,
        /// What.
        target: ReportTarget,
        /// Whose that is.
        owner_id: AccountId,
        /// What is said to be wrong.
        kind: ReportKind,
        /// What they say of it, sealed under their key.
        text: Sealed,
        /// Where in the stream or recording, in milliseconds from its start, if they say.
        at_ms: Option<i64>,
    },
    /// Say what was found; the same again is fine.
    Decide {
        /// The administrator.
        by: AccountId,
        /// What was found.
        verdict: ReportVerdict,
        /// What is done.
        action: ReportAction,
        /// What they answer, sealed under the key of who reported, if they do.
        answer: Option<Sealed>,
        /// How long and why its owner's account is suspended; counts with that action alone.
        suspension: Option<DecidedSuspension>,
    },
}

/// For how long and why an account is to be suspended by a decision; one that is suspended for longer stays so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecidedSuspension {
    /// The account: whose it is what was reported.
    pub owner_id: AccountId,
    /// Why, sealed under the key of that account.
    pub reason: Sealed,
    /// When it is over by itself; `null` for not before it is lifted.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(schema_with = "timestamp::optional_schema")]
    pub until: Option<OffsetDateTime>,
}

/// What can have happened to a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReportEvent {
    /// Somebody reported something.
    Filed {
        /// The report.
        report_id: ReportId,
        /// Who reported.
        account_id: AccountId,
        /// What.
        target: ReportTarget,
        /// Whose that is.
        owner_id: AccountId,
        /// What is said to be wrong.
        kind: ReportKind,
        /// What they said of it, sealed under their key.
        text: Sealed,
        /// Where in the stream or recording, in milliseconds from its start; `null` where that was not said.
        at_ms: Option<i64>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        filed_at: OffsetDateTime,
    },
    /// An administrator decided; what follows is done after it.
    Decided {
        /// The report.
        report_id: ReportId,
        /// Who had reported.
        account_id: AccountId,
        /// What.
        target: ReportTarget,
        /// The administrator.
        by: AccountId,
        /// What was found.
        verdict: ReportVerdict,
        /// What is done about it.
        action: ReportAction,
        /// What was answered, sealed under the key of who had reported; `null` where nothing was.
        answer: Option<Sealed>,
        /// How long and why an account is to be suspended; `null` where none is.
        suspension: Option<DecidedSuspension>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        decided_at: OffsetDateTime,
    },
}

impl ReportEvent {
    /// The stored names of all events of a report.
    pub const TYPES: &[&'static str] = &["report.filed", "report.decided"];

    /// The report that it happened to.
    #[must_use]
    pub fn report_id(&self) -> ReportId {
        match self {
            Self::Filed { report_id, .. } | Self::Decided { report_id, .. } => *report_id,
        }
    }
}

impl Event for ReportEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Filed { .. } => "report.filed",
            Self::Decided { .. } => "report.decided",
        }
    }

    fn event_version(&self) -> &'static str {
        match self {
            // 2 says how long and why somebody is suspended.
            Self::Decided { .. } => "2",
            Self::Filed { .. } => "1",
        }
    }

    /// Somebody's open report of something is one: more of them would say nothing more.
    fn claims(&self) -> Vec<Claim> {
        let kind = Claimed::OpenReport;
        match self {
            Self::Filed { account_id, target, .. } => vec![Claim::Take { kind, name: name(*account_id, *target) }],
            Self::Decided { account_id, target, .. } => {
                vec![Claim::Release { kind, name: name(*account_id, *target) }]
            }
        }
    }
}

fn name(account_id: AccountId, target: ReportTarget) -> String {
    format!("{account_id} {} {}", target.kind(), target.id())
}

/// Why a report says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReportRefusal {
    /// The same person's report of the same thing is open.
    #[error("this was reported before, and nobody has decided yet")]
    AlreadyReported,
    /// It was made before.
    #[error("the report already exists")]
    AlreadyExists,
    /// There is no such report.
    #[error("there is no such report")]
    Unknown,
    /// There is nothing of the kind that could be reported.
    #[error("what is reported is not there")]
    TargetUnknown,
    /// It was decided otherwise before.
    #[error("the report was decided before")]
    AlreadyDecided,
    /// This does not follow from a report of that kind, or from one that is dismissed.
    #[error("this cannot be done about what was reported")]
    ActionImpossible,
}

/// A report as far as its rules, and whoever acts on it, need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    filed: Option<FiledReport>,
    decision: Option<(ReportVerdict, ReportAction)>,
    #[serde(default)]
    suspension: Option<(AccountId, DecidedSuspension)>,
}

/// What was reported, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiledReport {
    /// The report.
    pub report_id: ReportId,
    /// Who reported.
    pub account_id: AccountId,
    /// What.
    pub target: ReportTarget,
    /// Whose that is.
    pub owner_id: AccountId,
}

impl Report {
    /// What was reported; `None` before it exists.
    #[must_use]
    pub fn filed(&self) -> Option<FiledReport> {
        self.filed
    }

    /// What was found and done; `None` while it is open.
    #[must_use]
    pub fn decision(&self) -> Option<(ReportVerdict, ReportAction)> {
        self.decision
    }

    /// How long and why an account is to be suspended by what was decided, and by whom; `None` where none is, and while it is
    /// open.
    #[must_use]
    pub fn suspension(&self) -> Option<(AccountId, &DecidedSuspension)> {
        self.suspension.as_ref().map(|(by, decided)| (*by, decided))
    }

    /// Whether it may be decided so.
    ///
    /// # Errors
    /// Why not.
    pub fn may_be_decided(&self, verdict: ReportVerdict, action: ReportAction) -> Result<FiledReport, ReportRefusal> {
        let filed = self.filed.ok_or(ReportRefusal::Unknown)?;
        if self.decision.is_some_and(|decision| decision != (verdict, action)) {
            return Err(ReportRefusal::AlreadyDecided);
        }
        let is_possible = match (verdict, action) {
            (_, ReportAction::None) | (ReportVerdict::Upheld, ReportAction::SuspendAccount) => true,
            (ReportVerdict::Upheld, ReportAction::TakeDown) => filed.target.can_be_taken_down(),
            (ReportVerdict::Dismissed, _) => false,
        };
        if is_possible { Ok(filed) } else { Err(ReportRefusal::ActionImpossible) }
    }
}

impl Aggregate for Report {
    const TYPE: &'static str = "report";
    type Command = ReportCommand;
    type Event = ReportEvent;
    type Refusal = ReportRefusal;

    fn decide(&self, command: ReportCommand, now: OffsetDateTime) -> Result<Vec<ReportEvent>, ReportRefusal> {
        match command {
            ReportCommand::File { .. } if self.filed.is_some() => Err(ReportRefusal::AlreadyExists),
            ReportCommand::File { report_id, account_id, target, owner_id, kind, text, at_ms } => {
                Ok(vec![ReportEvent::Filed {
                    report_id,
                    account_id,
                    target,
                    owner_id,
                    kind,
                    text,
                    at_ms,
                    filed_at: now,
                }])
            }
            ReportCommand::Decide { by, verdict, action, answer, suspension } => {
                let FiledReport { report_id, account_id, target, .. } = self.may_be_decided(verdict, action)?;
                if self.decision.is_some() {
                    return Ok(Vec::new());
                }
                let suspension = suspension.filter(|_| action == ReportAction::SuspendAccount);
                Ok(vec![ReportEvent::Decided {
                    report_id,
                    account_id,
                    target,
                    by,
                    verdict,
                    action,
                    answer,
                    suspension,
                    decided_at: now,
                }])
            }
        }
    }

    fn apply(&mut self, event: &ReportEvent) {
        match event {
            ReportEvent::Filed { report_id, account_id, target, owner_id, .. } => {
                self.filed = Some(FiledReport {
                    report_id: *report_id,
                    account_id: *account_id,
                    target: *target,
                    owner_id: *owner_id,
                });
            }
            ReportEvent::Decided { by, verdict, action, suspension, .. } => {
                self.decision = Some((*verdict, *action));
                self.suspension = suspension.clone().map(|decided| (*by, decided));
            }
        }
    }

    fn claimed(_: Claimed) -> ReportRefusal {
        ReportRefusal::AlreadyReported
    }
}
